"""Batches without padding: every token once in one row, each prompt once, with the way to ordinary rows and back.

Attention wants ordinary rows. They come in blocks of like length, longest first, so that hardly any padding is there
either: `blocks` (B, 2) holds rows and width of each; `unpack` the packed position of each of their tokens, block after
block, padding pointing anywhere; `pack` for each packed token its place among those.
`valuefree.models.packed_attention` reads them.
"""

from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor

Rows = Sequence[Sequence[int]]
LIKE = 0.75  # shortest row of a block, as a share of its width


def groups_of(prompts: Iterable[Hashable]) -> list[list[int]]:
    """Row numbers of each prompt, prompts by first appearance."""
    groups: dict[Hashable, list[int]] = {}
    for row, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(row)
    return list(groups.values())


def blocks_of(lengths: Sequence[int]) -> tuple[list[int], Tensor]:
    """Rows in the order of the blocks, longest first, and `blocks`; a row is at least `LIKE` as long as its block."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    blocks: list[list[int]] = []
    for row in order:
        if not blocks or lengths[row] < LIKE * blocks[-1][1]:
            blocks.append([0, lengths[row]])
        blocks[-1][0] += 1
    return order, torch.tensor(blocks)


def _starts(blocks: Tensor) -> list[int]:
    """Where each row of the blocks begins among their tokens, in the order of the blocks."""
    starts, at = [], 0
    for rows, width in blocks.tolist():
        starts += range(at, at + rows * width, width)
        at += rows * width
    return starts


def _side_by_side(rows: Rows) -> dict[str, Tensor]:
    """Tokens of all rows (N,) and `order`, `blocks`, `unpack`, `pack`."""
    lengths = [len(row) for row in rows]
    order, blocks = blocks_of(lengths)
    packed_start = torch.tensor([0, *lengths]).cumsum(0).tolist()
    unpack = torch.zeros(int((blocks[:, 0] * blocks[:, 1]).sum()), dtype=torch.int64)
    pack = torch.empty(sum(lengths), dtype=torch.int64)
    for row, start in zip(order, _starts(blocks), strict=True):
        place = torch.arange(lengths[row])
        unpack[start : start + lengths[row]] = packed_start[row] + place
        pack[packed_start[row] : packed_start[row + 1]] = start + place
    tokens = torch.cat([torch.tensor(row) for row in rows])
    return {"tokens": tokens, "order": torch.tensor(order), "blocks": blocks, "unpack": unpack, "pack": pack}


def pack_encoder_decoder(prompts: Rows, responses: Rows, groups: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """P distinct prompts for the encoder and R responses for the decoder, side by side.

    Returns:
        input_ids (1, N), prompt_blocks, prompt_unpack and prompt_pack (N,), prompt_mask (P, L), true where a prompt
        has a token, prompts in the order of their blocks; blocks, unpack and pack (M,) of the decoder; key_blocks,
        key_unpack and key_mask (R, L), the prompts again, each as often as it has responses, in the order of the
        decoder's blocks; target_ids and target_rows (M,).
    """
    owner = {row: index for index, rows in enumerate(groups) for row in rows}
    inputs = [prompts[rows[0]] for rows in groups]
    prompt, response = _side_by_side(inputs), _side_by_side(responses)
    start = torch.tensor([0, *(len(row) for row in inputs)]).cumsum(0).tolist()
    owners = [owner[row] for row in response["order"].tolist()]
    key_blocks, key_unpack = [], []
    first = 0
    for rows in response["blocks"][:, 0].tolist():
        asked = owners[first : first + rows]
        width = max(len(inputs[index]) for index in asked)
        for index in asked:
            own = torch.zeros(width, dtype=torch.int64)
            own[: len(inputs[index])] = torch.arange(start[index], start[index + 1])
            key_unpack.append(own)
        key_blocks.append([rows, width])
        first += rows
    lengths = torch.tensor([len(row) for row in inputs])
    places = torch.arange(int(lengths.max()))
    return {
        "input_ids": prompt["tokens"][None],
        "prompt_blocks": prompt["blocks"],
        "prompt_unpack": prompt["unpack"],
        "prompt_pack": prompt["pack"],
        "prompt_mask": places < lengths[prompt["order"]][:, None],
        "blocks": response["blocks"],
        "unpack": response["unpack"],
        "pack": response["pack"],
        "key_blocks": torch.tensor(key_blocks),
        "key_unpack": torch.cat(key_unpack),
        "key_mask": places < lengths[torch.tensor(owners)][:, None],
        "target_ids": response["tokens"],
        "target_rows": torch.arange(len(responses)).repeat_interleave(torch.tensor([len(row) for row in responses])),
    }


def pack_decoder(prompts: Rows, responses: Rows, groups: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Each prompt and then its responses, whose positions go on from the prompt.

    Returns:
        input_ids and position_ids (1, N); blocks, unpack and pack (N,) of rows of prompt and response; and for each
        response token target_ids, target_positions (of the hidden state that predicts it, in N) and target_rows.
    """
    whose_prompt = {row: rows[0] for rows in groups for row in rows}
    order, blocks = blocks_of(
        [len(prompts[whose_prompt[row]]) + len(response) for row, response in enumerate(responses)]
    )
    row_start = dict(zip(order, _starts(blocks), strict=True))
    unpack = torch.zeros(int((blocks[:, 0] * blocks[:, 1]).sum()), dtype=torch.int64)
    ids, positions, pack, target_ids, where, whose = [], [], [], [], [], []
    start = 0
    for rows in groups:
        prompt = torch.tensor(prompts[rows[0]])
        length = len(prompt)
        prompt_at = torch.arange(start, start + length)
        ids.append(prompt)
        positions.append(torch.arange(length))
        pack.append(row_start[rows[0]] + torch.arange(length))  # a prompt's output is the same in each of its rows
        start += length
        for row in rows:
            response = torch.tensor(responses[row])
            at = torch.arange(start, start + len(response))
            place = torch.arange(length, length + len(response))
            unpack[row_start[row] + torch.arange(length)] = prompt_at
            unpack[row_start[row] + place] = at
            ids.append(response)
            positions.append(place)
            pack.append(row_start[row] + place)
            target_ids.append(response)
            where.append(torch.cat([prompt_at[-1:], at[:-1]]))
            whose.append(torch.full((len(response),), row))
            start += len(response)
    return {
        "input_ids": torch.cat(ids)[None],
        "position_ids": torch.cat(positions)[None],
        "blocks": blocks,
        "unpack": unpack,
        "pack": torch.cat(pack),
        "target_ids": torch.cat(target_ids),
        "target_positions": torch.cat(where),
        "target_rows": torch.cat(whose),
    }
