"""Cross-checks of the settings of training."""

from gcnet_tf.config.schema_training import (
    LOSS_SETTINGS,
    UNWEIGHTED_LOSSES,
    TrainConfig,
)
from gcnet_tf.config.values import require, shown


def validate_train(train: TrainConfig) -> None:
    """Checks the settings of a training against each other.

    Raises:
        UserError: when two settings contradict each other.
    """
    _validate_rates(train)
    _validate_schedule(train)
    _validate_losses(train)
    _validate_named_optimizer(train)


def _validate_rates(train: TrainConfig) -> None:
    require(
        train.min_learning_rate <= train.learning_rate,
        f"train.min_learning_rate: received {train.min_learning_rate}; allowed: at "
        f"most train.learning_rate, which is {train.learning_rate}",
    )
    head = train.head_lr_multiplier * train.learning_rate
    require(
        train.min_learning_rate <= head,
        f"train.head_lr_multiplier: received {train.head_lr_multiplier}, with which "
        f"the heads' rate would rise from {head:g} to train.min_learning_rate, which "
        f"is {train.min_learning_rate}; lower that, or raise the multiplier",
    )


# Settings that only one schedule has.
_OF_SCHEDULE = {"poly_power": "poly", "step_at": "step", "step_factor": "step"}


def _validate_schedule(train: TrainConfig) -> None:
    for name, schedule in _OF_SCHEDULE.items():
        received = getattr(train, name)
        require(
            train.schedule == schedule or received == getattr(TrainConfig, name),
            f"train.{name}: received {shown(received)}, but train.schedule is "
            f"{train.schedule}; allowed with {schedule} alone, leave it out",
        )
    warm_up = train.warmup_iterations
    require(
        not warm_up or train.schedule != "one_cycle",
        f"train.warmup_iterations: received {warm_up}, but one_cycle of train.schedule "
        "rises by itself; use 0, or another schedule",
    )
    require(
        warm_up < train.iterations,
        f"train.warmup_iterations: received {warm_up}; allowed: below "
        f"train.iterations, which is {train.iterations}",
    )
    require(
        warm_up > 0 or train.warmup_factor == TrainConfig.warmup_factor,
        f"train.warmup_factor: received {train.warmup_factor}, but there is no "
        "warm-up; set train.warmup_iterations, too, or leave it out",
    )
    if train.schedule != "step":
        return
    steps = [warm_up, *train.step_at, train.iterations]
    require(
        len(steps) > 2 and all(a < b for a, b in zip(steps, steps[1:])),
        f"train.step_at: received {shown(train.step_at)}; allowed with the schedule "
        f"step: one iteration or more, in rising order, between {warm_up} (the end of "
        f"the warm-up) and {train.iterations} (train.iterations)",
    )


def _validate_losses(train: TrainConfig) -> None:
    require(
        train.loss is None or not train.losses,
        "train.losses: received terms, and train.loss names a loss in their place; "
        "leave one of the two out",
    )
    for index, term in enumerate(train.losses):
        allowed = LOSS_SETTINGS[term.kind]
        for name, value in term.given().items():
            require(
                name in allowed,
                f"train.losses[{index}].{name}: received {value}, but {term.kind} has "
                f"no such setting, it has {', '.join(allowed) or 'none'}; use null to "
                "leave a setting out",
            )
    require(
        not train.jit_compile or all(term.kind != "hausdorff" for term in train.losses),
        "train.jit_compile: received true with the loss hausdorff, whose distances XLA "
        "cannot compute; set it to false, or leave the term out",
    )
    require(
        train.class_weights is None
        or not train.losses
        or any(term.kind not in UNWEIGHTED_LOSSES for term in train.losses),
        "train.class_weights: received weights, but no term of train.losses has any; "
        f"add another than {', '.join(UNWEIGHTED_LOSSES)}, or use null",
    )


def _validate_named_optimizer(train: TrainConfig) -> None:
    if train.optimizer is None:
        require(
            train.norm_bias_decay or train.weight_decay > 0,
            "train.norm_bias_decay: received false, but train.weight_decay is 0 for "
            "all weights; leave it out",
        )
        return
    require(
        "learning_rate" not in train.optimizer.config,
        "train.optimizer.config: received a learning_rate; leave it out and set "
        "train.learning_rate, min_learning_rate and schedule, which apply to this "
        "optimizer",
    )
    for name, own in (("clip_norm", "global_clipnorm"), ("ema_momentum", "use_ema")):
        received = getattr(train, name)
        require(
            received is None,
            f"train.{name}: received {received}, which is for the built-in SGD; use "
            f"null, and {own} in train.optimizer.config",
        )
    require(
        train.head_lr_multiplier == 1,
        f"train.head_lr_multiplier: received {train.head_lr_multiplier}, but only the "
        "built-in SGD has several rates; allowed with train.optimizer: 1",
    )
    in_optimizer = train.optimizer.config.get("gradient_accumulation_steps")
    require(
        train.accumulate == 1 or not in_optimizer,
        f"train.accumulate: received {train.accumulate} beside "
        f"gradient_accumulation_steps {in_optimizer} of train.optimizer; allowed: one "
        "of them. train.accumulate divides the batch, the other one joins several",
    )
