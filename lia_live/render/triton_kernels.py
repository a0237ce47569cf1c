# mypy: ignore-errors
# Triton reads these functions as its own language; types say nothing in it.
"""What a GPU does between convolutions, each as one pass over memory (Triton comes with torch for CUDA on Linux).

All maps are (B, r, r, C) contiguous, of any float type; arithmetic is fp32. ``leaky`` has slope ``LEAK``, and gains are
folded in by the callers. Sizes are run-time numbers: one compilation serves every level.
"""

import triton
import triton.language as tl

LEAK = tl.constexpr(0.2)


@triton.jit
def _leaky(x):
    return tl.where(x > 0, x, x * LEAK)


@triton.jit
def lift(pixels, weight, bias, out, count, C, BC: tl.constexpr, PIX: tl.constexpr):
    """leaky(weight · (pixels - 127.5) + bias): (count, 3) uint8, (3, C), (C,) -> (count, C)."""
    start = tl.program_id(0).to(tl.int64) * PIX
    pixels += start * 3
    out += start * C
    p, c = tl.arange(0, PIX), tl.arange(0, BC)
    here, live = p < count - start, c < C
    total = tl.load(bias + c, mask=live, other=0.0)[None, :] + tl.zeros((PIX, BC), tl.float32)
    for k in tl.static_range(3):
        value = tl.load(pixels + p * 3 + k, mask=here, other=0).to(tl.float32) - 127.5
        total += value[:, None] * tl.load(weight + k * C + c, mask=live, other=0.0)[None, :]
    where = p[:, None] * C + c[None, :]
    mask = here[:, None] & live[None, :]
    tl.store(out + where, _leaky(total).to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["places"])
def activate(
    x, out, bias, demod, style, demod_row, style_row, places, C,
    STYLED: tl.constexpr, BC: tl.constexpr, PIX: tl.constexpr,
):  # fmt: skip
    """leaky(x + bias), or with styles style · leaky(demod · x + bias). x: (B, places, C); may be in place."""
    b = tl.program_id(1).to(tl.int64)
    p, c = tl.program_id(0) * PIX + tl.arange(0, PIX), tl.arange(0, BC)
    live = c < C
    mask = (p < places)[:, None] & live[None, :]
    where = b * places * C + p[:, None] * C + c[None, :]
    value = tl.load(x + where, mask=mask, other=0.0).to(tl.float32)
    if STYLED:
        value *= tl.load(demod + b * demod_row + c, mask=live, other=0.0)[None, :]
    value = _leaky(value + tl.load(bias + c, mask=live, other=0.0)[None, :])
    if STYLED:
        value *= tl.load(style + b * style_row + c, mask=live, other=0.0)[None, :]
    tl.store(out + where, value.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["side_in", "side_out", "tiles"])
def blur(
    x, out, bias, demod, style, demod_row, style_row, side_in, side_out, tiles, C,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
    GAIN: tl.constexpr, BC: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """The binomial 4x4 filter, zeros outside. x: (B, side_in, side_in, C) -> (B, side_out, side_out, C).

    BEFORE: what is filtered is leaky(x + bias). AFTER: the result becomes style · leaky(demod · it + bias).
    """
    b = tl.program_id(2).to(tl.int64)
    x += b * side_in * side_in * C
    out += b * side_out * side_out * C
    tile, c = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    i = tl.arange(0, SIDE * SIDE)
    oy = (tile // tiles) * SIDE + i // SIDE
    ox = (tile % tiles) * SIDE + i % SIDE
    here, live = (oy < side_out) & (ox < side_out), c < C
    if BEFORE or AFTER:
        shift = tl.load(bias + c, mask=live, other=0.0)[None, :]
    total = tl.zeros((SIDE * SIDE, BC), tl.float32)
    for ky in tl.static_range(4):
        for kx in tl.static_range(4):
            iy, ix = oy * STRIDE + ky - PAD, ox * STRIDE + kx - PAD
            inside = here & (iy >= 0) & (iy < side_in) & (ix >= 0) & (ix < side_in)
            mask = inside[:, None] & live[None, :]
            where = (iy * side_in + ix)[:, None] * C + c[None, :]
            value = tl.load(x + where, mask=mask, other=0.0).to(tl.float32)
            if BEFORE:
                value = tl.where(mask, _leaky(value + shift), 0.0)
            total += value * ((ky * (3 - ky) + 1) * (kx * (3 - kx) + 1) * GAIN / 64)
    if AFTER:
        total *= tl.load(demod + b * demod_row + c, mask=live, other=0.0)[None, :]
        total = _leaky(total + shift)
        total *= tl.load(style + b * style_row + c, mask=live, other=0.0)[None, :]
    where = (oy * side_out + ox)[:, None] * C + c[None, :]
    tl.store(out + where, total.to(out.dtype.element_ty), mask=here[:, None] & live[None, :])


@triton.jit
def _doubled(plane, y, x, half):
    """A plane (half, half) through the FIR at twice its size."""
    iy, ix = y // 2, x // 2
    ny, nx = iy + (y % 2) * 2 - 1, ix + (x % 2) * 2 - 1
    vy, vx = (ny >= 0) & (ny < half), (nx >= 0) & (nx < half)
    near = tl.load(plane + iy * half + ix)
    beside = tl.load(plane + iy * half + nx, mask=vx, other=0.0)
    below = tl.load(plane + ny * half + ix, mask=vy, other=0.0)
    far = tl.load(plane + ny * half + nx, mask=vy & vx, other=0.0)
    return 0.5625 * near + 0.1875 * (beside + below) + 0.0625 * far


@triton.jit(do_not_specialize=["r"])
def finish(
    y, features, coarse, planes, out, picture,
    demod, bias, flow, flow_style, next_style, colour, colour_bias, offsets,
    feature_row, demod_row, style_row, r, C,
    FIRST: tl.constexpr, LAST: tl.constexpr, BC: tl.constexpr, PIX: tl.constexpr,
):  # fmt: skip
    """Everything of a level behind its second convolution ``y`` (B, r, r, C): activation, flow and mask, warp, colour.

    features: (r, r, C) of each avatar, LAST: (r, r, 4) already projected. coarse, planes: (B, 6, r/2, r/2) and
    (B, 6, r, r), raw flow x and y (doubled), raw mask, red, green, blue. out: (B, r, r, C), blended and styled for
    the next level. LAST: picture (B, r, r, 3) uint8 instead of planes and out.
    """
    b = tl.program_id(1).to(tl.int64)
    p, c = tl.program_id(0) * PIX + tl.arange(0, PIX), tl.arange(0, BC)  # PIX divides r · r
    oy, ox = p // r, p % r
    live = c < C
    places = b * r * r
    where = p[:, None] * C + c[None, :]
    x = tl.load(y + places * C + where, mask=live[None, :], other=0.0).to(tl.float32)
    x *= tl.load(demod + b * demod_row + c, mask=live, other=0.0)[None, :]
    x = _leaky(x + tl.load(bias + c, mask=live, other=0.0)[None, :])

    style = tl.load(flow_style + b * style_row + c, mask=live, other=0.0)
    sx = tl.sum(x * (style * tl.load(flow + c, mask=live, other=0.0))[None, :], 1)
    sy = tl.sum(x * (style * tl.load(flow + C + c, mask=live, other=0.0))[None, :], 1)
    m = tl.sum(x * (style * tl.load(flow + 2 * C + c, mask=live, other=0.0))[None, :], 1)
    sx += tl.load(offsets)
    sy += tl.load(offsets + 1)
    m += tl.load(offsets + 2)
    half = r // 2
    coarse += b * 6 * half * half
    if not FIRST:
        sx += _doubled(coarse, oy, ox, half)
        sy += _doubled(coarse + half * half, oy, ox, half)
        m += _doubled(coarse + 2 * half * half, oy, ox, half)
    planes += 6 * places
    if not LAST:
        tl.store(planes + p, sx)
        tl.store(planes + r * r + p, sy)
        tl.store(planes + 2 * r * r + p, m)
    m = tl.sigmoid(m)

    # g - 1 + 2s is the place, g spaced end to end; in pixels ((place + 1) · r - 1) / 2
    px = ((ox * (2.0 / (r - 1)) - 1.0) * r - 1.0) * 0.5 + r * tl.sigmoid(sx)
    py = ((oy * (2.0 / (r - 1)) - 1.0) * r - 1.0) * 0.5 + r * tl.sigmoid(sy)
    x0, y0 = tl.floor(px), tl.floor(py)
    wx, wy = px - x0, py - y0
    x0, y0 = x0.to(tl.int32), y0.to(tl.int32)
    features += b * feature_row
    if LAST:
        red = tl.zeros((PIX,), tl.float32)
        green = tl.zeros((PIX,), tl.float32)
        blue = tl.zeros((PIX,), tl.float32)
    else:
        warped = tl.zeros((PIX, BC), tl.float32)
    for dy in tl.static_range(2):
        for dx in tl.static_range(2):
            cy, cx = y0 + dy, x0 + dx
            inside = (cy >= 0) & (cy < r) & (cx >= 0) & (cx < r)
            weight = m * (wy * dy + (1 - wy) * (1 - dy)) * (wx * dx + (1 - wx) * (1 - dx))
            if LAST:
                corner = features + (cy * r + cx) * 4
                red += weight * tl.load(corner, mask=inside, other=0.0)
                green += weight * tl.load(corner + 1, mask=inside, other=0.0)
                blue += weight * tl.load(corner + 2, mask=inside, other=0.0)
            else:
                corner = (cy * r + cx)[:, None] * C + c[None, :]
                mask = inside[:, None] & live[None, :]
                sampled = tl.load(features + corner, mask=mask, other=0.0).to(tl.float32)
                warped += weight[:, None] * sampled
    if not LAST:
        red = tl.sum(warped * tl.load(colour + c, mask=live, other=0.0)[None, :], 1)
        green = tl.sum(warped * tl.load(colour + C + c, mask=live, other=0.0)[None, :], 1)
        blue = tl.sum(warped * tl.load(colour + 2 * C + c, mask=live, other=0.0)[None, :], 1)
    red = _leaky(red + tl.load(colour_bias)) + tl.load(offsets + 3)
    green = _leaky(green + tl.load(colour_bias + 1)) + tl.load(offsets + 4)
    blue = _leaky(blue + tl.load(colour_bias + 2)) + tl.load(offsets + 5)
    if not FIRST:
        red += _doubled(coarse + 3 * half * half, oy, ox, half)
        green += _doubled(coarse + 4 * half * half, oy, ox, half)
        blue += _doubled(coarse + 5 * half * half, oy, ox, half)
    if LAST:
        picture += places * 3
        tl.store(picture + p * 3, _grey(red))
        tl.store(picture + p * 3 + 1, _grey(green))
        tl.store(picture + p * 3 + 2, _grey(blue))
    else:
        tl.store(planes + 3 * r * r + p, red)
        tl.store(planes + 4 * r * r + p, green)
        tl.store(planes + 5 * r * r + p, blue)
        x = x * (1 - m)[:, None] + warped
        x *= tl.load(next_style + b * style_row + c, mask=live, other=0.0)[None, :]
        tl.store(out + places * C + where, x.to(out.dtype.element_ty), mask=live[None, :])


@triton.jit
def _grey(x):
    return tl.floor(tl.minimum(tl.maximum(x, 0.0), 255.0) + 0.5).to(tl.uint8)
