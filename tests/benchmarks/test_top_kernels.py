"""The table of a GPU's kernels, of a trace as jax's profiler writes it."""

import pytest
from jax.profiler import ProfileData

from benchmarks.top_kernels import top

TRACE = """
planes {
  name: "/host:CPU"
  lines { name: "python" events { metadata_id: 1 duration_ps: 900000 } }
  event_metadata { key: 1 value { id: 1 name: "block_until_ready" } }
}
planes {
  name: "/device:GPU:0"
  lines {
    name: "Stream #13(Compute)"
    events { metadata_id: 1 offset_ps: 0 duration_ps: 3000 }
    events { metadata_id: 2 offset_ps: 3000 duration_ps: 5000 }
    events { metadata_id: 1 offset_ps: 8000 duration_ps: 4000 }
  }
  lines { name: "Stream #14(MemcpyH2D)" events { metadata_id: 3 duration_ps: 8000 } }
  lines { name: "XLA Modules" events { metadata_id: 4 duration_ps: 12000 } }
  event_metadata { key: 1 value { id: 1 name: "gemm" } }
  event_metadata { key: 2 value { id: 2 name: "softmax" } }
  event_metadata { key: 3 value { id: 3 name: "MemcpyH2D" } }
  event_metadata { key: 4 value { id: 4 name: "jit_step" } }
}
"""


def profile(text: str):
    return ProfileData.from_serialized_xspace(ProfileData.text_proto_to_serialized_xspace(text))


def test_calls_of_a_kernel_are_added_up_over_streams_and_nothing_else_counts():
    assert top(profile(TRACE), 2) == [("MemcpyH2D", 0.4), ("gemm", 0.35)]
    assert top(profile(TRACE), 9) == [("MemcpyH2D", 0.4), ("gemm", 0.35), ("softmax", 0.25)]


def test_a_trace_without_a_gpu_is_an_error():
    with pytest.raises(ValueError, match="no /device:GPU:0"):
        top(profile(TRACE.replace("GPU", "TPU")), 2)
