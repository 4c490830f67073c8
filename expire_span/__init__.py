"""The memory core: a transformer whose memories have a predicted lifetime, and go when it is over."""

from expire_span.attention import NO_FLEX_GRADIENT
from expire_span.core import CoreOutput, ExpireSpanCore, StepOutput
from expire_span.language_model import ExpireSpanTransformerXL
from expire_span.memory import Cache, CacheWrite, Memory
from expire_span.version import __version__

__all__ = [
    "NO_FLEX_GRADIENT",
    "Cache",
    "CacheWrite",
    "CoreOutput",
    "ExpireSpanCore",
    "ExpireSpanTransformerXL",
    "Memory",
    "StepOutput",
    "__version__",
]
