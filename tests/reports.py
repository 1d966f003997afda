"""Reports as ``edgekit bench`` and ``compare`` make them, with numbers drawn from a seed: every part filled."""

import json
import math
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edgekit.bench.coverage import CoverageReport, DelegateLibrary, TimeShare
from edgekit.bench.heat.sustained import SustainedReport, summarize_sustained
from edgekit.bench.latency import Latency, summarize_processes
from edgekit.bench.plan import BenchOptions
from edgekit.bench.power.battery import BatteryReport
from edgekit.bench.power.energy import EnergyReport
from edgekit.bench.profile import ProfileReport, ProfileSamples, RowSamples, summarize_profile
from edgekit.bench.recording import Channel, Gauge, Recording, Segment, Stretch, Trace, Window
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.samples import FirmwareThrottle, MachineFacts, MachineState, Measurement, Policy, collect
from edgekit.bench.stages import Stage, StagesReport
from edgekit.bench.throughput import Throughput, ThroughputReport
from edgekit.bench.versus.comparison import ComparedModel, Comparison, ComparisonReport, judge
from edgekit.entries import FindingEntry
from edgekit.placement.entries import OpPlacement, Partition, Placement, Transfer
from edgekit_converters.structure import OpInfo, TensorInfo

RECORDED = Path(__file__).parent / "unit" / "data" / "agent_bench.jsonl"
S = 1_000_000_000
START = 1_000 * S
EMULATED = "qemu-user in /proc/self/auxv"
GAUGE = Gauge(
    name="ina3221 VDD_IN", sensor="hwmon", covers="the 5 V input of the board", whole_device=True, interval_s=0.1,
    channels={"power_w": Channel(resolution=0.008, wraps_at=None)},
)  # fmt: skip
BATTERY = Gauge(
    name="BAT0", sensor="power_supply", covers="the battery", whole_device=True, interval_s=1.0, capacity_j=36_000.0,
    channels={"capacity_percent": Channel(resolution=1.0, wraps_at=None)},
)  # fmt: skip
FINDINGS = (
    FindingEntry(
        name="throttled-before", severity="info", message="The device throttled at some time since it was started.",
        fix="These samples were not touched; look at cooling and power supply all the same.",
    ),
    FindingEntry(
        name="governor", severity="warning", message="The CPU governor is ondemand: the clock follows the load.",
        fix="Use --governor performance, or read the numbers as those of an application that runs like this.",
    ),
)  # fmt: skip


@cache
def recorded() -> Measurement:
    """What the agent once said on an x86-64 machine."""
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    return collect(lines, device="garage", processes=2, num_threads=(1, 2))


def facts(**changes: Any) -> MachineFacts:
    """A board."""
    board = {
        "board": "Raspberry Pi 4 Model B Rev 1.4", "cpu": "Cortex-A72", "cores": 4, "architecture": "aarch64",
        "memory_bytes": 4 * 2**30, "kernel": "6.12.25+rpt-rpi-v8", "virtual": False, "emulated": None,
    }  # fmt: skip
    return replace(recorded().machine, **{**board, **changes})


def state(second: float, *, temperature_c: float = 52.0, mhz: int = 1800, throttled: bool = False) -> MachineState:
    """The board at one moment."""
    policy = Policy(
        name="policy0", cpus=(0, 1, 2, 3), governor="ondemand", khz=1000 * mhz, min_khz=600_000, max_khz=1_800_000
    )
    now = ("frequency-capped",) if throttled else ()
    return replace(
        recorded().before, monotonic_ns=START + int(second * S), clock_offset_ns=1_795_246_800 * S, policies=(policy,),
        temperatures_c={"cpu-thermal": temperature_c},
        firmware_throttle=FirmwareThrottle(word=0, now=now, since_boot=()),
    )  # fmt: skip


def bench_report(
    *, seed: int = 1, scale: float = 1.0, num_threads: tuple[int, ...] = (1, 4), **changes: Any
) -> BenchmarkReport:
    """Latency alone; ``changes`` override fields."""
    found, rng = recorded(), random.Random(seed)
    results = []
    for place, threads in enumerate(num_threads):
        middle = 12e6 * scale / threads**0.8
        processes = []
        for number in range(5):
            bias = rng.gauss(1, 0.01)
            samples = tuple(
                int(middle * bias * rng.lognormvariate(0, 0.02) * (1 + (rng.random() < 0.01) * 2 * rng.random()))
                for _ in range(300)
            )
            processes.append(
                replace(
                    found.processes[0], process=number, configuration=place, num_threads=threads, samples_ns=samples
                )
            )
        results.append(summarize_processes(processes))
    fields: dict[str, Any] = {
        "device": "garage", "machine": facts(), "runtime": found.processes[0].runtime, "model": "vww-rpi4-int8",
        "model_sha256": "5" * 64, "artifact_digest": "ab" * 32, "delegate": "xnnpack",
        "options": BenchOptions(num_threads=num_threads), "results": tuple(results), "findings": (),
        "before": state(0), "after": state(40, temperature_c=61.5), **changes,
    }  # fmt: skip
    return BenchmarkReport(**fields)


def full_report(*, seed: int = 1, secs: int = 600, **changes: Any) -> BenchmarkReport:
    """Every part of a report."""
    sustained = sustained_run(seed=seed, secs=secs)
    fields: dict[str, Any] = {
        "findings": (*FINDINGS, *sustained.findings), "energy": ENERGY, "battery": BATTERY_REPORT,
        "sustained": sustained.report, "stages": stages(), "throughput": throughput(), "profile": profile(),
        "coverage": coverage(),
        "recordings": {"energy": energy_recording(seed=seed), "sustained": sustained.recording}, **changes,
    }  # fmt: skip
    return bench_report(seed=seed, **fields)


def _recording(schedule: tuple[Segment, ...], stretches: list[Stretch], **parts: Any) -> Recording:
    fields: dict[str, Any] = {
        "machine": facts(), "processes": (), "windows": (), "traces": (), "states": (), "before": state(0),
        "after": state(1), **parts,
    }  # fmt: skip
    return Recording(schedule=schedule, stretches=tuple(stretches), **fields)


def _window(second: int, middle_ns: float, rng: random.Random) -> Window:
    p50 = int(middle_ns * rng.gauss(1, 0.004))
    p99 = int(p50 * (1.1 + rng.random() * 0.1 + (rng.random() < 0.02) * rng.random()))
    start = START + second * S
    return Window(
        process=0, segment=0, start_ns=start, end_ns=start + S, count=int(S / p50), min_ns=int(p50 * 0.97), p50_ns=p50,
        p90_ns=int(p50 * 1.05), p99_ns=p99, max_ns=int(p99 * 1.05), mean_ns=p50 * 1.01, cpu_s=0.99, late=0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SustainedRun:
    """A report and what it was read from."""

    report: SustainedReport
    recording: Recording
    findings: tuple[FindingEntry, ...]


def sustained_run(*, seed: int = 1, secs: int = 600) -> SustainedRun:
    """A board that heats up and throttles from 45 % of the run on."""
    rng = random.Random(seed)
    hot = int(0.45 * secs)
    windows = tuple(_window(second, 12e6 * (1 if second < hot else 1.21), rng) for second in range(secs))
    heat = [52 + 30 * (1 - math.exp(-second / (0.2 * secs))) + rng.gauss(0, 0.2) for second in range(secs)]
    states = tuple(
        state(second, temperature_c=round(heat[second], 1), mhz=1800 if second < hot else 1500, throttled=second >= hot)
        for second in range(secs)
    )
    levels = tuple(float(round(84 - 6 * second / secs)) for second in range(secs))
    traces = (
        Trace(
            gauge=BATTERY,
            monotonic_ns=tuple(START + second * S for second in range(secs)),
            values={"capacity_percent": levels},
        ),
    )
    stretch = Stretch(
        process=0, segment=0, start_ns=START, end_ns=START + secs * S, inferences=sum(item.count for item in windows)
    )
    recording = _recording((Segment(kind="load", secs=secs),), [stretch], windows=windows, states=states, traces=traces)
    report, findings = summarize_sustained(recording)
    return SustainedRun(report=report, recording=recording, findings=findings)


def energy_recording(*, seed: int = 1, readings_per_s: int = 50) -> Recording:
    """Six processes of idle, load, idle, read by a gauge with noise."""
    rng = random.Random(seed)
    schedule = (Segment(kind="idle", secs=2.5), Segment(kind="load", secs=5), Segment(kind="idle", secs=2.5))
    stretches, times, values, now = [], [], [], 0.0
    for process in range(6):
        for place, segment in enumerate(schedule):
            end = now + segment.secs
            stretches.append(
                Stretch(
                    process=process,
                    segment=place,
                    start_ns=START + int(now * S),
                    end_ns=START + int(end * S),
                    inferences=0,
                )
            )
            level = 3.1 if segment.kind == "idle" else 5.4
            for tick in range(int(segment.secs * readings_per_s)):
                times.append(START + int((now + tick / readings_per_s) * S))
                values.append(round((level + rng.gauss(0, 0.08)) / 0.008) * 0.008)
            now = end
        now += 0.6  # the next process starts
    trace = Trace(gauge=GAUGE, monotonic_ns=tuple(times), values={"power_w": tuple(values)})
    return _recording(schedule, stretches, traces=(trace,))


ENERGY = EnergyReport(
    gauge=GAUGE, method="power", energy_per_inference_mj=27.6, interval_mj=(26.9, 28.4), level=0.95, idle_power_w=3.1,
    load_power_w=5.4, inferences=2480, blocks=6, processes=6, update_interval_s=0.11, lag_s=0.06, resolution_w=0.008,
    systematic_mj=0.2, resolvable_mj=0.4, needed_secs=None,
)  # fmt: skip
BATTERY_REPORT = BatteryReport(
    gauge=BATTERY, capacity_percent=(84.0, 78.0), drain_percent_per_h=36.0, drain_interval=(30.1, 42.2),
    idle_drain_percent_per_h=18.0, idle_drain_interval=(14.0, 22.0), load_power_w=None, idle_power_w=None, level=0.95,
    rate_per_s=None, measured_rate_per_s=79.0, hours=2.78, hours_interval=(2.37, 3.32), needed_secs=None,
)  # fmt: skip


def latency(median: float) -> Latency:
    """Of a median in milliseconds."""
    return Latency(
        median=median, p90=1.04 * median, p95=1.06 * median, p99=1.15 * median, min=0.97 * median, mean=1.01 * median,
        median_interval=(0.99 * median, 1.012 * median), level=0.9375, basis="over processes",
    )  # fmt: skip


def stages() -> StagesReport:
    """A photo's way."""
    medians = {"preprocess": 6.2, "inference": 12.1, "postprocess": 0.84, "whole": 19.3}
    return StagesReport(
        sample="photo.jpg (480, 640, 3) uint8",
        processes=5,
        stages=tuple(
            Stage(name=name, latency_ms=latency(value), share=value / 19.3)  # type: ignore[arg-type]
            for name, value in medians.items()
        ),
    )


def throughput() -> ThroughputReport:
    """One to four streams of one or two threads."""
    rates = {(1, 1): 82.0, (2, 1): 160.0, (4, 1): 265.0, (1, 2): 140.0, (2, 2): 248.0, (1, 4): 251.0}
    return ThroughputReport(
        results=tuple(
            Throughput(
                streams=streams, num_threads=threads, inferences_per_s=rate, interval=(0.97 * rate, 1.02 * rate),
                level=0.9375, latency_ms=latency(1000 * streams / rate), peak_rss_bytes=(90 + 9 * streams) * 2**20,
                processes=5, beside=1.98,
            )
            for (streams, threads), rate in rates.items()
        ),
        best_throughput=2, best_latency=5,
        reason="4 streams of 1 thread make the most inferences; 1 stream of 4 threads has the shortest latency.",
    )  # fmt: skip


PROFILED = (
    ("Delegate/Convolution (NHWC, QC8) IGEMM", "Delegate", 0, 1, 900.0),
    ("Delegate/Convolution (NHWC, QC8) DWConv", "Delegate", 1, 1, 2400.0),
    ("Delegate/Fully Connected (NC, QS8, QC8W) GEMM", "Delegate", 2, 2, 700.0),
    ("AVERAGE_POOL_2D", "Builtin", 3, 1, 5200.0),
    ("Delegate/Static Reshape (NC)", "Delegate", 0, 1, 0.0),
    ("Delegate/Static Reshape (NC)", "Delegate", 1, 1, 0.0),
    ("SOFTMAX", "Builtin", 6, 1, 3.0),
)
"""Rows of a runtime, with microseconds."""


def profiled_ops() -> list[OpInfo]:
    """The ops that they are of."""

    def tensor(name: str, *shape: int) -> TensorInfo:
        return TensorInfo(name=name, dtype="int8", shape=shape, constant=False, scales=1)

    def op(index: int, name: str, output: TensorInfo, *inputs: TensorInfo) -> OpInfo:
        return OpInfo(name=name, custom=None, version=1, inputs=inputs, outputs=(output,), index=index)

    image, weights = tensor("image", 1, 96, 96, 3), tensor("kernel", 8, 3, 3, 3)
    first, second = tensor("net/first/Conv2D", 1, 48, 48, 8), tensor("net/depthwise/depthwise;net/relu", 1, 48, 48, 8)
    third, pooled = tensor("net/third/Conv2D", 1, 48, 48, 16), tensor("net/pool/AvgPool", 1, 1, 1, 16)
    flat, dense = tensor("net/flat/Reshape", 1, 16), tensor("net/dense/BiasAdd", 1, 2)
    return [
        op(0, "CONV_2D", first, image, weights),
        op(1, "DEPTHWISE_CONV_2D", second, first, tensor("kernel", 1, 3, 3, 8)),
        op(2, "CONV_2D", third, second, tensor("kernel", 16, 1, 1, 8)),
        op(3, "AVERAGE_POOL_2D", pooled, third),
        op(4, "RESHAPE", flat, pooled),
        op(5, "FULLY_CONNECTED", dense, flat, tensor("kernel", 2, 16)),
        op(6, "SOFTMAX", tensor("Identity", 1, 2), dense),
    ]


def profiled_process(number: int) -> ProfileSamples:
    """Process ``number`` of them, 1 % slower than the one before."""
    slower, found = 1 + number / 100, recorded().processes[0]
    rows = tuple(
        RowSamples(
            kind=kind, owner=owner, place=place, calls=calls, first_us=0.96 * us / calls**0.5, us=(us * slower,) * 8
        )
        for kind, owner, place, calls, us in PROFILED
    )
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    fields |= {"process": number, "samples_ns": (round(9_900_000 * slower),) * 8}
    return ProfileSamples(**fields, profiled_ns=(round(10_400_000 * slower),) * 8, rows=rows)


def profile() -> ProfileReport:
    """Of seven ops, the pooling the slowest, in two partitions."""
    return summarize_profile([profiled_process(number) for number in range(5)], profiled_ops())


def coverage() -> CoverageReport:
    """A library that took five of seven ops in two partitions, with XNNPACK behind it."""
    names = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX")
    where = ("libnpu.so.2",) * 3 + ("cpu", "libnpu.so.2", "libnpu.so.2", "xnnpack")
    ops = tuple(
        OpPlacement(index=index, subgraph=0, op=name, output=f"t{index}", processor=processor, macs=None)
        for index, (name, processor) in enumerate(zip(names, where, strict=True))
    )
    runs = (("libnpu.so.2", (0, 1, 2)), ("cpu", (3,)), ("libnpu.so.2", (4, 5)), ("xnnpack", (6,)))
    return CoverageReport(
        delegate="/usr/lib/libnpu.so.2",
        delegate_options={"device": "npu0"},
        library=DelegateLibrary(
            path="/usr/lib/libnpu.so.2.1", bytes=1_234_567, sha256="ab" * 32, version="NPU runtime 2.1"
        ),
        route="node by node",
        placement=Placement(
            target="rpi4",
            basis="runtime",
            told_by="ai-edge-litert 2.3.0",
            ops=ops,
            partitions=tuple(Partition(processor=processor, ops=nodes) for processor, nodes in runs),
            transfers=(Transfer(tensor="t2", bytes=36_864, source="libnpu.so.2", destination="cpu"),),
        ),
        ops=7,
        taken_ops=5,
        by_ops=5 / 7,
        by_macs=0.98,
        partitions=2,
        time=TimeShare(
            delegate_ms=4.1, without_ms=10.4, without="xnnpack", gone=0.606, interval=(0.59, 0.62), level=0.95,
            verdict="faster", rounds=24,
        ),
    )  # fmt: skip


def comparison_report(
    *, effects: tuple[float, ...] = (-0.082, 0.031, 0.002, 0.012), **changes: Any
) -> ComparisonReport:
    """A baseline against one candidate for each effect."""
    rng = random.Random(7)
    names = [
        "vww-int8",
        *(
            f"vww-{word}"
            for word in (
                "int8-per-tensor",
                "float16",
                "int8-metadata",
                "a-rather-long-name-of-a-model-that-someone-chose",
            )
        ),
    ]
    models, comparisons = [], []
    for place, effect in enumerate((0.0, *effects)):
        rounds = tuple(0.26 * (1 + effect) * rng.gauss(1, 0.008) for _ in range(20))
        models.append(
            ComparedModel(
                name=names[place], model_sha256=str(place) * 64, artifact_digest=None, delegate="xnnpack",
                num_threads=1, median_ms=sorted(rounds)[10], rounds_ms=rounds,
            )
        )  # fmt: skip
        if place:
            interval = (effect - 0.006, effect + 0.0065)
            verdict = judge(interval, 0.01)
            comparisons.append(
                Comparison(
                    baseline=names[0], candidate=names[place], verdict=verdict, effect=effect, interval=interval,
                    level=0.95, needed_rounds=35 if verdict == "inconclusive" else None,
                )
            )  # fmt: skip
    fields: dict[str, Any] = {
        "device": "garage", "machine": facts(), "runtime": recorded().processes[0].runtime, "options": BenchOptions(),
        "margin": 0.01, "rounds": 20, "models": tuple(models), "comparisons": tuple(comparisons), "findings": (),
        "before": state(0), "after": state(9), **changes,
    }  # fmt: skip
    return ComparisonReport(**fields)
