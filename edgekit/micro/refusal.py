"""Why TFLite Micro refused a model, from what it printed. Pure.

The texts are those of tensorflow/lite/micro: micro_allocator.cc, micro_interpreter.cc, micro_interpreter_graph.cc and
arena_allocator/single_arena_buffer_allocator.cc.
"""

import re
import signal

NOT_FOUND = re.compile(r"Didn't find op for builtin opcode '([A-Z0-9_]{1,80})'")
NO_CUSTOM = re.compile(r"Failed to get registration from op code CUSTOM")
NODE = re.compile(r"Node ([A-Za-z0-9_]{1,80}) \(number (\d{1,9})\) failed to (prepare|invoke)")
MEMORY = re.compile(
    r"Failed to (?:resize buffer|allocate (?:temp|tail) memory)\. Requested: (\d{1,19}), available (\d{1,19})"
)
PLACE = re.compile(r"^\S*/([a-z0-9_]{1,80}\.(?:cc|h))(?::\d+)? ")
NOISE = ("[RecordingMicroAllocator]", "RuntimeError: TFLM failed", "Failed to get registration")
MAX_DETAIL = 300


def explain(status: int, said: str) -> str:
    """The cause in a sentence without its full stop, naming the op where TFLite Micro does."""
    if found := NOT_FOUND.search(said):
        return f"it has no kernel for {found[1]}"
    if NO_CUSTOM.search(said):
        return "it has no kernel for a custom operator of the model"
    if found := MEMORY.search(said):
        return f"it asks for {int(found[1]):,} bytes, with {int(found[2]):,} left in the largest arena that is tried"
    details = _details(said)
    last = details[-1] if details else ""
    if found := NODE.search(said):
        verb = "be prepared" if found[3] == "prepare" else "run"
        why = [line for line in details if not NODE.search(line)]
        return f"{found[1]} (op {found[2]}) cannot {verb}" + (f": {why[-1]}" if why else "")
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return f"its interpreter crashed ({name})" + (f" after saying: {last}" if last else ", and said nothing")
    return last or f"its interpreter ended with status {status}, and said nothing"


def _details(said: str) -> list[str]:
    """What it said, without the prefixes of source files and what is said at every failure."""
    lines = (" ".join(line.split()) for line in said.splitlines())
    kept = [line for line in lines if line and not line.startswith(NOISE)]
    return [PLACE.sub(r"\1: ", line).rstrip(".")[:MAX_DETAIL] for line in kept]
