"""The tables of one study, as small as a test wants them."""

import pandas as pd


def study_row(dataset, algorithm, held_out, seed):
    return {
        "sweep": "golden",
        "study": f"{dataset}.m.{algorithm}.{held_out}.{seed}",
        "dataset": dataset,
        "model": "m",
        "algorithm": algorithm,
        "held_out": str(held_out),
        "seed": seed,
    }


def tiny(validations, states=None, held_out_steps=None, algorithm="ERM", held_out="h", seed=0):
    """A study with trials 0..n-1; `validations[n]` maps a step to the two source accuracies, which
    are those of the folds as well."""
    study = study_row("D", algorithm, held_out, seed)
    trials, evaluations = [], []
    for number, steps in enumerate(validations):
        trial = f"{study['study']}.{number}"
        state = states[number] if states else "completed"
        trials.append({**study, "trial": trial, "number": number, "state": state, "hp_lr": number})
        for step, accuracies in steps.items():
            rows = [
                (domain, role, split, accuracy)
                for role, split in (("left_out", "in"), ("source", "out"))
                for domain, accuracy in zip(("a", "b"), accuracies, strict=True)
            ]
            if held_out_steps is None or step in held_out_steps:
                rows += [(held_out, "held_out", "in", 0.5), (held_out, "held_out", "out", 0.9)]
            for row in rows:
                count = 300 if "in" in row else 100
                evaluations.append((study["study"], trial, step, *row, count))
    columns = ["study", "trial", "step", "domain", "role", "split", "accuracy", "count"]
    return pd.DataFrame(trials), pd.DataFrame(evaluations, columns=columns)
