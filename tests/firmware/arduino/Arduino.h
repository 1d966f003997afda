// What a sketch of a source package uses of Arduino's core.
#ifndef STAND_IN_ARDUINO_H_
#define STAND_IN_ARDUINO_H_

struct SerialPort {
  void begin(unsigned long) {}
  void println(const char*) {}
  explicit operator bool() const { return true; }
};

extern SerialPort Serial;
unsigned long millis();

#endif  // STAND_IN_ARDUINO_H_
