"""The section `training` of the sweep file: its keys, defaults and bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from search.sweep.fields import Falling, Real, Section, Whole, in_new_sweeps


class Training(Section):
    """How a trial trains, apart from its hyperparameters."""

    steps: Whole = Field(default=5000, ge=1, description="Updates of the weights in a run.")
    evaluate_every: Whole = Field(default=200, ge=1, description="Updates between two evaluations.")
    batch_size: Whole = Field(
        default=32,
        ge=1,
        description="Samples per source domain and step, unless the space names it.",
    )
    micro_batches: Whole = Field(
        default=1,
        ge=1,
        description="Pieces that a batch is cut into to save memory. The step stays that of the "
        "whole batch, but batch norm that is not frozen sees one piece at a time.",
    )
    start: Literal["model", "linear-probe"] = Field(
        default="model",
        description="What a study's trials start from: the model as it is, or after its classifier "
        "was trained alone, once for all of them.",
    )
    start_steps: Whole | None = Field(
        default=None, ge=1, description="Updates of the linear probe; none: as many as `steps`."
    )
    start_lr: Real | None = Field(
        default=None,
        gt=0,
        description="Learning rate of the linear probe; none: the published one of the dataset.",
    )
    retrain: Literal["none", "all-images"] = Field(
        default="none",
        description="A second stage on all images of the source domains, validation images "
        "included, as long and at the rates that validation chose in the first.",
    )
    optimizer: Literal["adam", "adamw", "sgd", "genie"] = Field(
        default="adam", description="The base optimizer; genie has ranges of its own for lr."
    )
    momentum: Real = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
    nesterov: bool = Field(default=False, description="Nesterov's form of sgd's momentum.")
    lr_schedule: Literal["constant", "linear", "cosine", "step", "plateau"] = Field(
        default="constant",
        description="How lr changes after the warm-up; plateau: by lr_drop when the validation "
        "loss stops falling, and the third time the trial ends.",
    )
    lr_warmup: Whole = Field(default=0, ge=0, description="Steps in which lr rises from 0.")
    lr_floor: Falling = Field(
        default=0.0,
        ge=0,
        json_schema_extra={"exclusiveMaximum": 1},
        description="Fraction of lr left after the last step of linear or cosine.",
    )
    lr_drop_at: tuple[Annotated[Real, Field(gt=0, lt=1)], ...] = Field(
        default=(0.8,),
        min_length=1,
        examples=[[0.6, 0.8]],
        description="Fractions of the run at which lr drops, with step.",
    )
    lr_drop: Annotated[Falling, in_new_sweeps(lambda factor: factor > 0, "above 0")] = Field(
        default=0.1,
        ge=0,
        json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        description="What lr is multiplied by at each drop.",
    )
    clip_norm: Real | None = Field(
        default=None, gt=0, description="Largest norm of a gradient; longer ones are clipped."
    )
    averaging: Literal["none", "swad", "swa", "sma", "ema", "bma", "erm++"] = Field(
        default="none",
        description="Average of the weights that is a trial's result: swad in the valley of the "
        "validation loss, swa over the last part of the run, sma from an update on, ema "
        "exponentially, bma by a Beta density over the run with its start, erm++ as sma, after a "
        "linear probe.",
    )
    rho_schedule: Literal["constant", "linear", "cosine", "lr"] = Field(
        default="constant", description="How rho changes after the warm-up; lr: as lr does."
    )
    rho_warmup: Whole = Field(default=0, ge=0, description="Steps in which rho rises from 0.")
    rho_floor: Falling = Field(
        default=0.0,
        ge=0,
        json_schema_extra={"exclusiveMaximum": 1},
        description="Fraction of rho left after the last step of linear or cosine.",
    )
    bn: Literal["auto", "updated", "frozen"] = Field(
        default="auto",
        description="Whether batch norm uses the batch and updates its running statistics, or "
        "keeps those it began with; auto: frozen if model.weights are given.",
    )
    bn_second_pass: Literal["frozen", "updated"] = Field(
        default="frozen",
        description="Whether passes after the first update batch norm's running statistics.",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        default="auto", description="auto: cuda if resources.gpu is above 0, else cpu."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="bf16: passes in autocast, weights in fp32. Needs no gradient scaler.",
    )
    tf32: Literal["none", "convolutions", "all"] = Field(
        default="convolutions",
        description="What an NVIDIA GPU may compute in TF32 instead of fp32.",
    )
    deterministic: bool = Field(
        default=False,
        description="Only deterministic kernels; slower on a GPU.",
    )
    channels_last: bool = Field(
        default=False, description="The memory layout of fast convolutions."
    )
    compile: bool = Field(
        default=False,
        description="torch.compile for the featurizer; a warning is logged if it fails.",
    )
    augmentation: Literal["auto", "none", "exact", "device"] = Field(
        default="auto",
        description="Where photographs are augmented: exact as Pillow does, on the CPU, or on the "
        "device; auto: on the device if that is a GPU. Digits are shown as they are.",
    )
    evaluations: Literal["needed", "all"] = Field(
        default="needed", description="Score what selection uses, or every split of every domain."
    )
    flatness: Literal["none", "sharpness", "curvature"] = Field(
        default="none",
        description="What is measured around the selected weights for each domain: the rise of the "
        "loss in a ball, and with curvature the Hessian's largest eigenvalue too.",
    )
    flatness_rho: Real = Field(default=0.05, gt=0, description="Radius of that ball.")
    flatness_samples: Whole = Field(
        default=512, ge=1, description="Samples of each domain that flatness is measured on."
    )
    predictions: Literal["none", "correct"] = Field(
        default="none",
        description="correct: on which held-out images each completed trial is right, in the table "
        "`correct`.",
    )
    checkpoint_seconds: Real = Field(
        default=30.0, ge=0, description="Seconds between two checkpoints."
    )
