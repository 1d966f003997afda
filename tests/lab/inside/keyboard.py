"""In the guest: a keyboard with a battery of its own, made by /dev/uhid; the kernel shows it as a power_supply.

    keyboard.py PERCENT

Layouts: struct uhid_create2_req, uhid_get_report_req and uhid_get_report_reply_req of include/uapi/linux/uhid.h.
"""

import os
import struct
import sys

GET_REPORT, GET_REPORT_REPLY, CREATE2 = 9, 10, 11
SIZE = 4380
BUS_USB = 3
# a keyboard with its modifier keys; report 2 is the battery strength (usage page 6, usage 0x20), 0 to 100
DESCRIPTOR = bytes.fromhex(
    "05010906a1018501050719e029e71500250175019508810285020506092015002664007508950181 02c0".replace(" ", "")
)


def main() -> None:
    percent = int(sys.argv[1])
    keyboard = os.open("/dev/uhid", os.O_RDWR)
    names = b"lab-keyboard".ljust(128, b"\0") + b"lab".ljust(64, b"\0") + b"lab-1".ljust(64, b"\0")
    numbers = struct.pack("<HHIIII", len(DESCRIPTOR), BUS_USB, 0x1209, 1, 1, 0)
    create = struct.pack("<I", CREATE2) + names + numbers + DESCRIPTOR
    os.write(keyboard, create.ljust(SIZE, b"\0"))
    print("ready", flush=True)
    while True:
        event = os.read(keyboard, SIZE)
        if struct.unpack_from("<I", event)[0] == GET_REPORT:
            number, report = struct.unpack_from("<IB", event, 4)
            data = bytes([report, percent])
            reply = struct.pack("<IIHH", GET_REPORT_REPLY, number, 0, len(data)) + data
            os.write(keyboard, reply.ljust(SIZE, b"\0"))


main()
