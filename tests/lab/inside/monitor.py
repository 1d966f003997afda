"""In the guest: a power monitor INA219 on a bus of registers (i2c-stub), with the kernel's driver ina2xx on it.

    monitor.py MILLIVOLTS MILLIAMPERES MILLIWATTS

Registers: TI SBOS448G, table 2. With the driver's default shunt of 10 milliohms a step of the current is 1 mA and
one of the power 20 mW; the bus voltage counts 4 mV from bit 3 on.
"""

import ctypes
import fcntl
import glob
import os
import sys

I2C_SLAVE_FORCE, I2C_SMBUS = 0x0706, 0x0720
SMBUS_WRITE, SMBUS_WORD_DATA = 0, 3
ADDRESS = 0x40
BUS_VOLTAGE, POWER, CURRENT = 2, 3, 4


class Transfer(ctypes.Structure):
    """struct i2c_smbus_ioctl_data of include/uapi/linux/i2c-dev.h."""

    _fields_ = [
        ("read_write", ctypes.c_uint8),
        ("command", ctypes.c_uint8),
        ("size", ctypes.c_uint32),
        ("data", ctypes.POINTER(ctypes.c_uint16)),
    ]


def main() -> None:
    millivolts, milliamperes, milliwatts = map(int, sys.argv[1:])
    (bus,) = [
        os.path.dirname(path) for path in glob.glob("/sys/bus/i2c/devices/i2c-*/name") if "stub" in open(path).read()
    ]
    with open(bus + "/new_device", "w") as stream:
        stream.write("ina219 0x%x" % ADDRESS)
    registers = os.open("/dev/" + os.path.basename(bus), os.O_RDWR)
    fcntl.ioctl(registers, I2C_SLAVE_FORCE, ADDRESS)
    values = {BUS_VOLTAGE: millivolts // 4 << 3, CURRENT: milliamperes, POWER: milliwatts // 20}
    for register, value in values.items():
        swapped = ctypes.c_uint16(value >> 8 | (value & 0xFF) << 8)  # the chip sends its high byte first
        fcntl.ioctl(registers, I2C_SMBUS, Transfer(SMBUS_WRITE, register, SMBUS_WORD_DATA, ctypes.pointer(swapped)))


main()
