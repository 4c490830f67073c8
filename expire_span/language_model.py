"""A language model on the memory core: embedding, core, logits."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from expire_span.core import ExpireSpanCore
from expire_span.memory import Memory
from expire_span.span import Spans


class ExpireSpanTransformerXL(nn.Module):
    """Expire-Span Transformer-XL over tokens (Sukhbaatar et al. 2021, arXiv 2105.06548).

    Args:
        num_tokens: size of the vocabulary.
        dim: size of a state; even, a multiple of `heads`.
        depth: number of layers.
        seq_len: usual length of a segment; ages below it have a relative position.
        heads: attention heads a layer.
        num_memory_blocks: the longest span is `num_memory_blocks * seq_len` steps (`max_mem_len`).
        expire_loss_coef: weight of the span loss in `aux_loss`.
        ramp_length: steps over which a state fades after its span ends.
        slots: past states a layer can keep; default: `max_mem_len`.
        spans: `"learned"`, or `"fixed"` at `max_mem_len`: a Transformer-XL of the same slots.

    Raises:
        ValueError: for sizes that don't fit.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        dim: int,
        depth: int,
        seq_len: int,
        heads: int = 8,
        num_memory_blocks: int = 10,
        expire_loss_coef: float = 1e-6,
        ramp_length: int = 128,
        slots: int | None = None,
        spans: Spans = "learned",
    ) -> None:
        super().__init__()
        self.seq_len = seq_len
        self.max_mem_len = num_memory_blocks * seq_len
        self.expire_loss_coef = expire_loss_coef
        self.token_emb = nn.Embedding(num_tokens, dim)
        self.core = ExpireSpanCore(
            dim,
            depth,
            heads,
            slots=self.max_mem_len if slots is None else slots,
            max_span=self.max_mem_len,
            ramp_length=ramp_length,
            seq_len=seq_len,
            spans=spans,
            random_shortening=True,
        )
        self.to_logits = nn.Linear(dim, num_tokens)

    def forward(
        self, tokens: Int[Tensor, "b t"], memory: Memory | None = None
    ) -> tuple[Float[Tensor, "b t num_tokens"], Memory, Float[Tensor, ""]]:
        """Logits for each token's successor, the memory for the next segment, and the auxiliary loss.

        Segments may have any length, one token included. The memory returned is detached.

        Args:
            tokens: indices, `(batch, steps)`.
            memory: as returned for the segment before; None at a text's start.
        """
        out = self.core(self.token_emb(tokens), memory)
        return self.to_logits(out.output), out.memory.detach(), out.span_loss * self.expire_loss_coef
