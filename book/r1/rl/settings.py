"""How a policy is trained: every number beside what it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass

from r1.rl.losses import GRPOLoss, Loss
from r1.rl.rollout import Sampling


@dataclass(frozen=True)
class Updates:
    """What is done with the answers of a step: each is used in `epochs` updates.

    An epoch takes all answers in random order, in `minibatches` parts, one an update.
    """

    lr: float = 1e-4
    epochs: int = 1
    minibatches: int = 1

    @property
    def one(self) -> bool:
        """Whether there is one update a step, so that the ratio is 1."""
        return self.epochs * self.minibatches == 1


@dataclass(frozen=True)
class Settings:
    """How GRPO trains; the defaults are those of chapter 13.

    `prompts` are the problems of a step, `scale` says whether advantages are divided
    by the standard deviation of their group. `loss` is called with logp, logp_old,
    advantages and mask; one that has a `kl_weight` other than 0 also gets logp_ref.
    """

    prompts: int = 32
    sampling: Sampling = Sampling()
    updates: Updates = Updates()
    scale: bool = True
    loss: Callable[..., Loss] = GRPOLoss()


@dataclass(frozen=True)
class PPOSettings:
    """How PPO trains: the critic in the place of the group.

    `lam` is lambda of generalized advantage estimation, `critic_lr` the learning rate
    of the critic; `clip` and `how` are those of GRPOLoss.
    """

    prompts: int = 32
    sampling: Sampling = Sampling()
    updates: Updates = Updates()
    clip: tuple[float, float] = (0.2, 0.2)
    how: str = "sequence"
    lam: float = 1.0
    critic_lr: float = 3e-4
