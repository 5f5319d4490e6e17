"""Memory is used again as soon as nothing needs it, and not before."""

import gc

import torch

from datasets.augmentation.buffers import Buffers


def test_memory_is_used_again_once_the_tensor_is_gone() -> None:
    buffers = Buffers()
    first = buffers.take(4, 5)
    where = first.data_ptr()
    del first
    assert buffers.take(4, 5).data_ptr() == where


def test_a_smaller_tensor_fits_into_the_memory_of_a_larger_one() -> None:
    buffers = Buffers()
    where = buffers.take(4, 5).data_ptr()
    smaller = buffers.take(3, 5)
    assert smaller.data_ptr() == where
    assert smaller.shape == (3, 5)


def test_memory_in_use_is_left_alone_whatever_uses_it() -> None:
    buffers = Buffers()
    users = [
        buffers.take(4, 5),
        buffers.take(4, 5)[1:, 2],
        buffers.take(4, 5).permute(1, 0).numpy(),
        torch.nn.Parameter(buffers.take(4, 5)).detach(),
    ]
    for user in users:
        user.fill(1.0) if hasattr(user, "ctypes") else user.fill_(1.0)
    gc.collect()
    for _ in range(5):
        buffers.take(4, 5).zero_()
    assert all(float(user.min()) == 1 for user in users)


def test_no_more_memory_is_kept_than_was_asked_for() -> None:
    buffers = Buffers(keep=2)
    held = [buffers.take(4, 5) for _ in range(5)]
    kept = {tensor.data_ptr() for tensor in held[-2:]}
    del held
    assert {tensor.data_ptr() for tensor in (buffers.take(4, 5), buffers.take(4, 5))} <= kept
