"""What XNNPACK asks of an op beyond its dtypes and options: the checks that ``targets/rules/xnnpack.toml`` names.

Read from the delegate of LiteRT (tflite/delegates/xnnpack/xnnpack_delegate.cc) and held against what ai-edge-litert
2.3.0 reports, op for op, by ``benchmarks/placement_truth.py``. Each check returns None where the op holds to it, else
the reason it does not, as the end of a sentence about the op.
"""

from edgekit.placement.xnnpack import scales, shapes, variables, weights

XNNPACK_CHECKS = {
    "xnnpack-extent": shapes.extent,
    "xnnpack-clamp": shapes.clamp,
    "xnnpack-dense": shapes.dense,
    "xnnpack-whole-strides": shapes.whole_strides,
    "xnnpack-pool-window": shapes.pool_window,
    "xnnpack-constant-parameters": shapes.constant_parameters,
    "xnnpack-axes-count": shapes.axes_count,
    "xnnpack-some-known-size": shapes.some_known_size,
    "xnnpack-positive-sizes": shapes.positive_sizes,
    "xnnpack-unit-strides": shapes.unit_strides,
    "xnnpack-input-count": shapes.input_count,
    "xnnpack-output-count": shapes.output_count,
    "xnnpack-divides": shapes.divides,
    "xnnpack-per-tensor": scales.per_tensor,
    "xnnpack-same-scale": scales.same_scale,
    "xnnpack-same-unsigned-scale": scales.same_unsigned_scale,
    "xnnpack-add-ratio": scales.add_ratio,
    "xnnpack-multiply-ratio": scales.multiply_ratio,
    "xnnpack-convert-ratio": scales.convert_ratio,
    "xnnpack-slope": scales.slope,
    "xnnpack-symmetric-weights": weights.symmetric_weights,
    "xnnpack-constant-weights": weights.constant_weights,
    "xnnpack-channel-weights": weights.channel_weights,
    "xnnpack-constant-bias": weights.constant_bias,
    "xnnpack-optional-bias": weights.optional_bias,
    "xnnpack-half-bias": weights.half_bias,
    "xnnpack-even-depth": weights.even_depth,
    "xnnpack-not-unpacked": weights.not_unpacked,
    "xnnpack-unpacked": weights.unpacked,
    "xnnpack-variable": variables.variable,
    "xnnpack-used-variable": variables.used_variable,
}
