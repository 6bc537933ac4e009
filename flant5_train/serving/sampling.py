"""Sampler of the next token. Shapes: V vocabulary."""

import torch


class Chooser:
    """Sampler of one answer, independent of the other answers in the batch."""

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
        """Samples a token, or takes the most likely one if greedy; `logits_V` is on the CPU."""
        if self.is_greedy:
            return int(logits_V.argmax())
        likelihood_V = (logits_V.double() / self._temperature).softmax(-1)
        if self._top_p < 1:
            likelihood_V = _nucleus(likelihood_V, self._top_p)
        return int(torch.multinomial(likelihood_V, 1, generator=self._chance))


def _nucleus(likelihood_V: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keeps the smallest set of most likely tokens whose probabilities add up to `top_p`, at least
    one."""
    sorted_V, order_V = likelihood_V.sort(descending=True, stable=True)
    is_beyond_V = sorted_V.cumsum(-1) - sorted_V >= top_p
    kept_V = likelihood_V.clone()
    kept_V[order_V[is_beyond_V]] = 0
    return kept_V
