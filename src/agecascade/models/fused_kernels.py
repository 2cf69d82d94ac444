"""Machine code of batch norm, ReLU and max pooling over bf16 maps, made by Numba; few passes over the memory, sums in a fixed order.

Maps are (B, P, C) numbers of 16 bits, channels last: P pixels, or rows of pixels side by side. Each kernel does the pictures from `first`
to `last`, so that threads can share a batch, and writes sums of each picture alone: what adds them up never depends on the threads.
The lines of a kernel are written for the compiler: one innermost loop over channels, which it turns into vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import extending, types

ROWS = 256  # numbers that are added up in single precision, before their sum goes on in double precision
LANES = 16  # channels that a pooling kernel takes at once
NOT_ACTIVE = 4  # no pixel of the window: the ReLU behind it gives zero
# rows of a table (6, L) of each channel's coefficients, C numbers side by side as often as they fit into L
SCALE, SHIFT, MEAN, INVERSE, SLOPE, OFFSET = range(6)

Function = TypeVar("Function", bound=Callable[..., Any])
_intrinsic: Any = extending.intrinsic  # its type says nothing of the functions that it makes


def _compiled(function: Function) -> Function:
    """Without Python's lock, kept on disk; `contract`: a product and a sum may be one instruction, and nothing else is reordered."""
    options: Any = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": {"contract"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # there is no place that can be written
        return numba.njit(**options)(function)


@_intrinsic
def _float(typing: Any, number: Any) -> Any:
    """A bf16 number (its 16 bits) in single precision."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.IntType(32)(16))
        return builder.bitcast(word, ir.FloatType())

    return types.float32(types.uint16), generate


@_intrinsic
def _rounded(typing: Any, number: Any) -> Any:
    """The 16 bits of the nearest bf16 number, the even one of two."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integer = ir.IntType(32)
        word = builder.bitcast(arguments[0], integer)
        half = builder.add(integer(0x7FFF), builder.and_(builder.lshr(word, integer(16)), integer(1)))
        return builder.trunc(builder.lshr(builder.add(word, half), integer(16)), ir.IntType(16))

    return types.uint16(types.float32), generate


@_compiled
def sums(maps, result, first, last):  # type: ignore[no-untyped-def]
    """Of each channel of each picture the sum and the sum of squares; maps: (B, P, C), result: (B, 2, C) in double precision."""
    _, pixels, channels = maps.shape
    total, squares = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for picture in range(first, last):
        result[picture] = 0
        for start in range(0, pixels, ROWS):
            total[:] = 0
            squares[:] = 0
            for pixel in range(start, min(start + ROWS, pixels)):
                row = maps[picture, pixel]
                for channel in range(channels):
                    value = _float(row[channel])
                    total[channel] += value
                    squares[channel] += value * value
            for channel in range(channels):
                result[picture, 0, channel] += total[channel]
                result[picture, 1, channel] += squares[channel]


@_compiled
def normalise(sums, count, weight, bias, running_mean, running_variance, momentum, epsilon, table):  # type: ignore[no-untyped-def]
    """Scale, shift, mean and 1 / standard deviation from the sums (B, 2, L) of `count` numbers; moves the running statistics on."""
    channels = len(weight)
    for channel in range(channels):
        total, squares = 0.0, 0.0
        for picture in range(sums.shape[0]):
            for lane in range(channel, sums.shape[2], channels):
                total += sums[picture, 0, lane]
                squares += sums[picture, 1, lane]
        mean = total / count
        variance = max(squares / count - mean * mean, 0.0)
        inverse = 1 / np.sqrt(variance + epsilon)
        running_mean[channel] += momentum * (mean - running_mean[channel])
        running_variance[channel] += momentum * (variance * count / (count - 1) - running_variance[channel])
        scale = np.float32(weight[channel] * inverse)
        for lane in range(channel, table.shape[1], channels):
            table[SCALE, lane], table[SHIFT, lane] = scale, bias[channel] - mean * scale
            table[MEAN, lane], table[INVERSE, lane] = mean, inverse


@_compiled
def differentiate(sums, count, table, of_weight, of_bias):  # type: ignore[no-untyped-def]
    """The gradients of weight and bias, slope and offset from the sums (B, 2, L) of `gradient_sums`; count: numbers of a channel."""
    channels = len(of_weight)
    for channel in range(channels):
        total, products = 0.0, 0.0
        for picture in range(sums.shape[0]):
            for lane in range(channel, sums.shape[2], channels):
                total += sums[picture, 0, lane]
                products += sums[picture, 1, lane]
        scale, inverse, mean = float(table[SCALE, channel]), float(table[INVERSE, channel]), float(table[MEAN, channel])
        slope = -scale * inverse * inverse * products / count
        of_weight[channel], of_bias[channel] = products * inverse, total
        for lane in range(channel, table.shape[1], channels):
            table[SLOPE, lane], table[OFFSET, lane] = slope, -scale * total / count - slope * mean


@_compiled
def activate(maps, table, result, first, last):  # type: ignore[no-untyped-def]
    """ReLU of scale * maps + shift; maps and result: (B, P, C)."""
    zero, scale, shift = np.float32(0), table[SCALE], table[SHIFT]
    _, pixels, channels = maps.shape
    for picture in range(first, last):
        for pixel in range(pixels):
            row, to = maps[picture, pixel], result[picture, pixel]
            for channel in range(channels):
                value = scale[channel] * _float(row[channel]) + shift[channel]
                to[channel] = _rounded(value if value > zero else zero)


@_compiled
def gradient_sums(gradient, maps, table, result, first, last):  # type: ignore[no-untyped-def]
    """Of each channel of each picture: the sum of the active gradients, and of these times (maps - mean).

    gradient, maps: (B, P, C); result: (B, 2, C) in double precision.
    """
    zero, scale, shift, mean = np.float32(0), table[SCALE], table[SHIFT], table[MEAN]
    _, pixels, channels = maps.shape
    total, products = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for picture in range(first, last):
        result[picture] = 0
        for start in range(0, pixels, ROWS):
            total[:] = 0
            products[:] = 0
            for pixel in range(start, min(start + ROWS, pixels)):
                above, row = gradient[picture, pixel], maps[picture, pixel]
                for channel in range(channels):
                    number = _float(row[channel])
                    active = _float(above[channel])
                    active = active if scale[channel] * number + shift[channel] > zero else zero
                    total[channel] += active
                    products[channel] += active * (number - mean[channel])
            for channel in range(channels):
                result[picture, 0, channel] += total[channel]
                result[picture, 1, channel] += products[channel]


@_compiled
def gradient_of_maps(gradient, maps, table, first, last):  # type: ignore[no-untyped-def]
    """Puts scale * active gradient + slope * maps + offset in the place of maps (B, P, C)."""
    zero, scale, shift, slope, offset = np.float32(0), table[SCALE], table[SHIFT], table[SLOPE], table[OFFSET]
    _, pixels, channels = maps.shape
    for picture in range(first, last):
        for pixel in range(pixels):
            above, row = gradient[picture, pixel], maps[picture, pixel]
            for channel in range(channels):
                number = _float(row[channel])
                active = _float(above[channel])
                active = active if scale[channel] * number + shift[channel] > zero else zero
                row[channel] = _rounded(scale[channel] * active + slope[channel] * number + offset[channel])


@_compiled
def pool(maps, channels, table, result, largest, choice, first, last):  # type: ignore[no-untyped-def]
    """ReLU of the largest of 2 x 2 normalised numbers, the first of equal ones.

    maps: (B, H, W * C); result, largest (the number before batch norm) and choice (which of the four): (B, H // 2, W // 2 * C).
    """
    zero, none, lanes = np.float32(0), np.uint8(NOT_ACTIVE), np.uint64(LANES)
    scale, shift = table[SCALE], table[SHIFT]
    channels, pooled = np.uint64(channels), np.uint64(result.shape[2])
    for picture in range(first, last):
        for row in range(result.shape[1]):
            upper, lower = maps[picture, 2 * row], maps[picture, 2 * row + 1]
            to, kept, chosen = result[picture, row], largest[picture, row], choice[picture, row]
            for pixel in range(np.uint64(0), pooled, channels):
                for lane in range(np.uint64(0), channels, lanes):
                    left = pixel + pixel + lane
                    right = left + channels
                    for k in range(lanes):
                        by, above = scale[lane + k], shift[lane + k]
                        number, which = upper[left + k], np.uint8(0)
                        best = by * _float(number) + above
                        value = by * _float(upper[right + k]) + above
                        number, which, best = (upper[right + k], np.uint8(1), value) if value > best else (number, which, best)
                        value = by * _float(lower[left + k]) + above
                        number, which, best = (lower[left + k], np.uint8(2), value) if value > best else (number, which, best)
                        value = by * _float(lower[right + k]) + above
                        number, which, best = (lower[right + k], np.uint8(3), value) if value > best else (number, which, best)
                        to[pixel + lane + k] = _rounded(best if best > zero else zero)
                        kept[pixel + lane + k] = number
                        chosen[pixel + lane + k] = which if best > zero else none


@_compiled
def gradient_behind_pool(gradient, choice, maps, channels, table, first, last):  # type: ignore[no-untyped-def]
    """Puts scale * gradient where it was chosen + slope * maps + offset, in the place of maps (B, H, W * C)."""
    zero, lanes = np.float32(0), np.uint64(LANES)
    scale, slope, offset = table[SCALE], table[SLOPE], table[OFFSET]
    channels, pooled = np.uint64(channels), np.uint64(gradient.shape[2])
    for picture in range(first, last):
        for row in range(gradient.shape[1]):
            given, chosen = gradient[picture, row], choice[picture, row]
            upper, lower = maps[picture, 2 * row], maps[picture, 2 * row + 1]
            for pixel in range(np.uint64(0), pooled, channels):
                for lane in range(np.uint64(0), channels, lanes):
                    left = pixel + pixel + lane
                    right = left + channels
                    for k in range(lanes):
                        which, value = chosen[pixel + lane + k], scale[lane + k] * _float(given[pixel + lane + k])
                        by, above = slope[lane + k], offset[lane + k]
                        a, b = by * _float(upper[left + k]) + above, by * _float(upper[right + k]) + above
                        c, d = by * _float(lower[left + k]) + above, by * _float(lower[right + k]) + above
                        upper[left + k] = _rounded(a + (value if which == 0 else zero))
                        upper[right + k] = _rounded(b + (value if which == 1 else zero))
                        lower[left + k] = _rounded(c + (value if which == 2 else zero))
                        lower[right + k] = _rounded(d + (value if which == 3 else zero))
        _rest(maps, channels, slope, offset, picture, gradient.shape[1] * 2, gradient.shape[2] * 2)


@_compiled
def _rest(maps, channels, slope, offset, picture, height, width):  # type: ignore[no-untyped-def]
    """slope * maps + offset in the last row and column of maps with odd sides, which no window of the pool holds."""
    for row in range(maps.shape[1]):
        for place in range(width if row < height else 0, maps.shape[2]):
            channel = np.uint64(place) % channels
            maps[picture, row, place] = _rounded(slope[channel] * _float(maps[picture, row, place]) + offset[channel])
