// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
#include "model_2d_net/selftest.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>

#include "model_2d_net/golden.h"
#include "model_2d_net/runner.h"

namespace model_2d_net {
namespace {

constexpr size_t kLine = 192;
constexpr double kMillion = 1e6;

struct Found {
  double difference;  // in steps, or relative to the largest expected value
  bool same_top1;
};

template <typename T>
bool IsFloat() {
  return !std::numeric_limits<T>::is_integer;
}

// Infinite where only one is NaN, or they are different infinities.
double Distance(double expected, double found) {
  if (expected == found || (std::isnan(expected) && std::isnan(found))) return 0.0;
  const double distance = std::fabs(expected - found);
  return std::isnan(distance) ? std::numeric_limits<double>::infinity() : distance;
}

template <typename T>
size_t Leader(const T* values, size_t count) {
  size_t leader = 0;
  for (size_t at = 1; at < count; ++at) {
    if (values[at] > values[leader]) leader = at;
  }
  return leader;
}

// Whether the leader of a row is the same, or does not lead by more than `margin`.
template <typename T>
bool SameLeader(const T* expected, const T* found, size_t count, double margin) {
  if (count < 2) return true;  // a single element leads nobody
  const size_t leader = Leader(expected, count);
  for (size_t at = 0; at < count; ++at) {
    const double lead = static_cast<double>(expected[leader]) - static_cast<double>(expected[at]);
    if (at != leader && !(lead > margin)) return true;
  }
  return Leader(found, count) == leader;
}

template <typename T>
Found Compare(const T* expected, const T* found, size_t rows, size_t count, const Tolerance& tolerance) {
  double peak = 0.0;
  double worst = 0.0;
  for (size_t at = 0; at < rows * count; ++at) {
    const double wanted = static_cast<double>(expected[at]);
    if (std::isfinite(wanted)) peak = std::fmax(peak, std::fabs(wanted));
    worst = std::fmax(worst, Distance(wanted, static_cast<double>(found[at])));
  }
  const double unit = !IsFloat<T>() || peak == 0.0 ? 1.0 : peak;
  const double allowed = IsFloat<T>() ? static_cast<double>(tolerance.max_error) : tolerance.max_steps;
  Found result = {worst / unit, true};
  for (size_t row = 0; tolerance.same_top1 && row < rows; ++row) {
    if (!SameLeader(expected + row * count, found + row * count, count, allowed * unit)) result.same_top1 = false;
  }
  return result;
}

// One line of the report; differences of floats in millionths.
template <typename T>
bool Judge(Print print, int vector, int output, const Found& found, const Tolerance& tolerance) {
  const double allowed = IsFloat<T>() ? static_cast<double>(tolerance.max_error) : tolerance.max_steps;
  const bool passed = found.difference <= allowed && found.same_top1;
  const double scale = IsFloat<T>() ? kMillion : 1.0;
  const double shown = std::fmin(std::ceil(found.difference * scale), 999999999.0);
  char line[kLine];
  std::snprintf(line, sizeof(line), "%s vector %d output %d: differs by %ld %s, %ld allowed%s",
                passed ? "PASS" : "FAIL", vector, output, static_cast<long>(shown),
                IsFloat<T>() ? "millionths" : "steps", static_cast<long>(allowed * scale + 0.5),
                found.same_top1 ? "" : ", another largest element");
  print(line);
  return passed;
}

bool RunVector(Print print, int number) {
  const GoldenVector& vector = golden_vectors[number];
  Reset();  // vectors are independent: state that an earlier one left is emptied
  std::memcpy(Input(0), vector.inputs[0], MODEL_2D_NET_INPUT_0_BYTES);
  std::memcpy(Input(1), vector.inputs[1], MODEL_2D_NET_INPUT_1_BYTES);
  const Status status = Invoke();
  if (status != Status::kOk) {
    print(Explain(status));
    return false;
  }
  bool passed = true;
  passed &= Judge<int8_t>(
      print, number, 0,
      Compare(static_cast<const int8_t*>(vector.outputs[0]), Output0(), 1, 3, golden_tolerances[0]),
      golden_tolerances[0]);
  passed &= Judge<float>(
      print, number, 1,
      Compare(static_cast<const float*>(vector.outputs[1]), Output1(), 2, 1, golden_tolerances[1]),
      golden_tolerances[1]);
  return passed;
}

}  // namespace

int RunSelfTest(Print print) {
  char line[kLine];
  std::snprintf(line, sizeof(line), "%s %s, model %.12s", MODEL_2D_NET_NAME, MODEL_2D_NET_VERSION, MODEL_2D_NET_MODEL_SHA256);
  print(line);
  const Status status = Init();
  if (status != Status::kOk) {
    print(Explain(status));
    print("FAIL: the model was not run");
    return -1;
  }
  std::snprintf(line, sizeof(line), "arena: %lu bytes in use", static_cast<unsigned long>(ArenaUsedBytes()));
  print(line);
  int failed = 0;
  for (size_t number = 0; number < kGoldenVectors; ++number) {
    failed += RunVector(print, static_cast<int>(number)) ? 0 : 1;
  }
  std::snprintf(line, sizeof(line), "%s: %d of %d vectors", failed ? "FAIL" : "PASS", static_cast<int>(kGoldenVectors) - failed,
                static_cast<int>(kGoldenVectors));
  print(line);
  return failed;
}

}  // namespace model_2d_net
