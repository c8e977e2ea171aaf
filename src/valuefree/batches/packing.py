"""Padding-free batches: all tokens in one packed row, each prompt once, and index maps to ordinary rows and back.

Attention needs ordinary rows. These form blocks of similar length, longest first, which keeps padding small:

- `blocks` (B, 2): number of rows and width of each block;
- `unpack`: packed position of each token of the blocks, block after block; that of a padding token is arbitrary;
- `pack` (N,): index of each packed token among the tokens of the blocks.

`valuefree.models.packed_attention` reads these maps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TokenRows = Sequence[Sequence[int]]
MIN_FILL = 0.75  # shortest row of a block, as a share of the block's width


def blocks_of(lengths: Sequence[int]) -> tuple[list[int], Tensor]:
    """Row numbers in the order of the blocks, longest first, and `blocks`; `MIN_FILL` bounds the padding of a row."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    blocks: list[list[int]] = []
    for row in order:
        if not blocks or lengths[row] < MIN_FILL * blocks[-1][1]:
            blocks.append([0, lengths[row]])
        blocks[-1][0] += 1
    return order, torch.tensor(blocks)


def _starts(blocks: Tensor) -> list[int]:
    """Index of the first token of each row among the tokens of the blocks, rows in the order of the blocks."""
    starts, end = [], 0
    for rows, width in blocks.tolist():
        starts += range(end, end + rows * width, width)
        end += rows * width
    return starts


def _pack_rows(rows: TokenRows) -> dict[str, Tensor]:
    """Tokens of all rows (N,), and `order`, `blocks`, `unpack`, `pack`."""
    lengths = [len(row) for row in rows]
    order, blocks = blocks_of(lengths)
    packed_start = torch.tensor([0, *lengths]).cumsum(0).tolist()
    unpack = torch.zeros(int((blocks[:, 0] * blocks[:, 1]).sum()), dtype=torch.int64)
    pack = torch.empty(sum(lengths), dtype=torch.int64)
    for row, start in zip(order, _starts(blocks), strict=True):
        offsets = torch.arange(lengths[row])
        unpack[start : start + lengths[row]] = packed_start[row] + offsets
        pack[packed_start[row] : packed_start[row + 1]] = start + offsets
    tokens = torch.cat([torch.tensor(row) for row in rows])
    return {"tokens": tokens, "order": torch.tensor(order), "blocks": blocks, "unpack": unpack, "pack": pack}


def pack_encoder_decoder(
    prompts: TokenRows, responses: TokenRows, groups: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Packed batch of an encoder-decoder: P distinct prompts (N tokens) and R responses (M tokens).

    groups: rows of each distinct prompt, see `valuefree.batches.grouping.groups_of`.

    Returns:
        encoder: input_ids (1, N); prompt_blocks, prompt_unpack, prompt_pack (N,); prompt_mask (P, L), true where a
        prompt has a token, prompts in the order of their blocks.
        decoder: blocks, unpack, pack (M,); target_ids and target_rows (M,).
        cross attention: key_blocks, key_unpack, key_mask (R, L): the prompt of each response, in the order of the
        decoder's blocks.
    """
    prompt_of = {row: index for index, rows in enumerate(groups) for row in rows}
    inputs = [prompts[rows[0]] for rows in groups]
    prompt, response = _pack_rows(inputs), _pack_rows(responses)
    start = torch.tensor([0, *(len(row) for row in inputs)]).cumsum(0).tolist()
    prompt_order = [prompt_of[row] for row in response["order"].tolist()]
    key_blocks, key_unpack = [], []
    first = 0
    for rows in response["blocks"][:, 0].tolist():
        block_prompts = prompt_order[first : first + rows]
        width = max(len(inputs[index]) for index in block_prompts)
        for index in block_prompts:
            key_positions = torch.zeros(width, dtype=torch.int64)
            key_positions[: len(inputs[index])] = torch.arange(start[index], start[index + 1])
            key_unpack.append(key_positions)
        key_blocks.append([rows, width])
        first += rows
    lengths = torch.tensor([len(row) for row in inputs])
    columns = torch.arange(int(lengths.max()))
    return {
        "input_ids": prompt["tokens"][None],
        "prompt_blocks": prompt["blocks"],
        "prompt_unpack": prompt["unpack"],
        "prompt_pack": prompt["pack"],
        "prompt_mask": columns < lengths[prompt["order"]][:, None],
        "blocks": response["blocks"],
        "unpack": response["unpack"],
        "pack": response["pack"],
        "key_blocks": torch.tensor(key_blocks),
        "key_unpack": torch.cat(key_unpack),
        "key_mask": columns < lengths[torch.tensor(prompt_order)][:, None],
        "target_ids": response["tokens"],
        "target_rows": torch.arange(len(responses)).repeat_interleave(torch.tensor([len(row) for row in responses])),
    }


def pack_decoder(prompts: TokenRows, responses: TokenRows, groups: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Packed batch of a decoder: each distinct prompt, followed by its responses.

    A negative token ~t of a response is context: token t in the input, and no target. The positions
    of each response continue those of the prompt. groups: rows of each distinct prompt.

    Returns:
        input_ids and position_ids (1, N); blocks, unpack and pack (N,), where an ordinary row is prompt and response;
        for each trained response token: target_ids, target_positions (index in N of the hidden state that predicts the
        token) and target_rows.
    """
    order, blocks = blocks_of(
        [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    )
    row_start = dict(zip(order, _starts(blocks), strict=True))
    unpack = torch.zeros(int((blocks[:, 0] * blocks[:, 1]).sum()), dtype=torch.int64)
    ids, positions, pack, target_ids, target_positions, target_rows = [], [], [], [], [], []
    start = 0
    for rows in groups:
        prompt = torch.tensor(prompts[rows[0]])
        length = len(prompt)
        prompt_at = torch.arange(start, start + length)
        ids.append(prompt)
        positions.append(torch.arange(length))
        pack.append(row_start[rows[0]] + torch.arange(length))  # the prompt's output is equal in all of its rows
        start += length
        for row in rows:
            tokens = torch.tensor(responses[row])
            response, trained = torch.where(tokens < 0, ~tokens, tokens), tokens >= 0
            at = torch.arange(start, start + len(response))
            offsets = torch.arange(length, length + len(response))
            unpack[row_start[row] + torch.arange(length)] = prompt_at
            unpack[row_start[row] + offsets] = at
            ids.append(response)
            positions.append(offsets)
            pack.append(row_start[row] + offsets)
            target_ids.append(response[trained])
            target_positions.append(torch.cat([prompt_at[-1:], at[:-1]])[trained])
            target_rows.append(torch.full((int(trained.sum()),), row))
            start += len(response)
    return {
        "input_ids": torch.cat(ids)[None],
        "position_ids": torch.cat(positions)[None],
        "blocks": blocks,
        "unpack": unpack,
        "pack": torch.cat(pack),
        "target_ids": torch.cat(target_ids),
        "target_positions": torch.cat(target_positions),
        "target_rows": torch.cat(target_rows),
    }
