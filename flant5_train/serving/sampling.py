"""Which token comes next. Shapes: V vocabulary."""

import torch


class Chooser:
    """The choices of one answer; they depend on nothing that is generated beside it."""

    def __init__(self, *, temperature: float, top_p: float, seed: int | None) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._chance = torch.Generator()
        if seed is None:
            self._chance.seed()
        else:
            # The generator takes 64 bits.
            self._chance.manual_seed(seed % 2**64)

    @property
    def is_greedy(self) -> bool:
        return self._temperature == 0

    def choose(self, logits_V: torch.Tensor) -> int:
        """A token by its likelihood, or the likeliest; `logits_V` is on the CPU."""
        if self.is_greedy:
            return int(logits_V.argmax())
        likelihood_V = (logits_V.double() / self._temperature).softmax(-1)
        if self._top_p < 1:
            likelihood_V = _nucleus(likelihood_V, self._top_p)
        return int(torch.multinomial(likelihood_V, 1, generator=self._chance))


def _nucleus(likelihood_V: torch.Tensor, top_p: float) -> torch.Tensor:
    """Only the fewest likeliest tokens that together have `top_p`, one at least."""
    sorted_V, order_V = likelihood_V.sort(descending=True, stable=True)
    is_beyond_V = sorted_V.cumsum(-1) - sorted_V >= top_p
    kept_V = likelihood_V.clone()
    kept_V[order_V[is_beyond_V]] = 0
    return kept_V
