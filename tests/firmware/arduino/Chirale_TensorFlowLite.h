// The header by which Arduino's IDE finds the library of TFLite Micro.
