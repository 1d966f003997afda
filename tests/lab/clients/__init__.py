"""Update clients of the lab: each installs bundles of one format for real, on a device made of folders and loops."""
