"""Does what is said of memory and disk hold? Bytes of a parameter, copies on a card, logits, cards, checkpoints.

Training with AdamW in fp32 takes 16 bytes a parameter before the first activation: weights, gradients and two moments
of 4 bytes each (Rajbhandari et al., ZeRO, 2020, count the same 16 for mixed precision).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuplan.data import gpu_readings
from gpuplan.data.models import models
from gpuplan.model import Finding
from gpuplan.units import format_count, format_number
from gpuplan.verify.claims.claim import Claim, gap
from gpuplan.verify.claims.labels import parameters_of
from gpuplan.verify.claims.linking import TOLERANCE
from gpuplan.verify.claims.words import contradiction, places, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.verify.claims.linking import Ledger

__all__ = ["card_sizes", "checkpoints", "copies", "logits", "model_sizes", "states", "training", "zero_batch"]

TRAINING_BYTES = 16.0
"""A parameter, fp32 AdamW; also 16-bit weights with 32-bit masters and moments."""

ALONE = 4.4
"""Bytes a parameter up to which it is the weights alone: 4 of fp32 and the tolerance."""

WEIGHTS_16 = 1.8
"""Bytes a parameter below which not even the weights in 16 bits are held, rounding aside."""

FULL_CARD = 0.95
"""Of a card; the driver and the contexts of several processes take the rest."""

LOGIT_COPIES = 3
"""At least: logits, their log-softmax and their gradient."""

SHORT_ROW = 128
"""Tokens; a language model is rarely trained on shorter rows."""

TRAINS = re.compile(r"\b(?:train(?:s|ed|ing)?|fine-?tun\w+|epochs?|optimizer|AdamW?)\b", re.IGNORECASE)
SMALLER = re.compile(
    r"\b(?:q?lora|adapters?|inference|serving|quanti[sz]\w+|[48]-?bit|int[48]|nf4|eval(?:uat\w+)?|generat\w+|offload\w*|"
    r"zero-?[123]|fsdp|shard\w*|SGD)\b",
    re.IGNORECASE,
)


def training(ledger: Ledger) -> Iterator[Finding]:
    """Memory for a model that holds its weights and nothing of what trains them."""
    for claim in ledger.of("memory"):
        for (parameters,) in ledger.premises(claim, "parameters"):
            each = claim.high / parameters.low
            is_beside = claim.line == parameters.line or claim.section == parameters.section
            if each <= ALONE and is_beside and TRAINS.search(ledger.text) and not SMALLER.search(claim.words):
                cards = [card for card in ledger.near(claim, "card") if card.high < TRAINING_BYTES * parameters.middle]
                yield _weights_alone(claim, parameters, each, cards)


def _weights_alone(claim: Claim, parameters: Claim, each: float, cards: list[Claim]) -> Finding:
    card = f"; a card here has {size(cards[0].high)}" if cards else ""
    needed = TRAINING_BYTES * parameters.middle
    held = "less than the weights take in 16 bits" if each < WEIGHTS_16 else "the weights alone"
    kind = f"{format_number(each)} B a parameter"
    return contradiction(
        "claim-training-memory",
        message=f"{parameters.text} in {claim.text}: {held}, {kind}",
        because=f"training with AdamW in fp32 takes 16 B a parameter, {size(needed)} before the first activation{card}",
        fix=f"plan for {size(needed)}, or say that it is inference, adapters or sharding (`gpuplan fit` has the sizes)",
        claims=(claim, parameters),
        off=needed / claim.high,
    )


def states(ledger: Ledger) -> Iterator[Finding]:
    """Weights with gradients and optimizer states that come to less than 16 bytes a parameter."""
    for claim in ledger.of("states"):
        for weights, parameters in ledger.premises(claim, "weights", "parameters"):
            held = claim.high + weights.high
            each = held / parameters.middle
            needed = TRAINING_BYTES * parameters.middle
            if weights.block == claim.block and needed / held > TOLERANCE and not SMALLER.search(claim.words):
                yield contradiction(
                    "claim-training-memory",
                    message=f"weights {weights.text} + gradients and optimizer {claim.text} = {size(held)} for "
                    f"{parameters.text}: {format_number(each)} B a parameter",
                    because=f"AdamW in fp32 holds 16 B a parameter (4 + 4 + 8): {size(needed)}; "
                    f"{format_number(each)} B would be all of it in fewer bits",
                    fix=f"count {size(needed)} for fp32, or name the precision that is meant",
                    claims=(claim, weights, parameters),
                    off=needed / held,
                )


def copies(ledger: Ledger) -> Iterator[Finding]:
    """Copies that share a card and need more than it has, or so nearly all of it that their contexts do not fit."""
    seen: set[tuple[object, ...]] = set()
    for nodes in ledger.of("nodes"):
        if any(gpus.high >= nodes.low for gpus in ledger.near(nodes, "gpus")):
            continue
        for memory, card in ledger.premises(nodes, "memory", "card"):
            if not _is_its_card(nodes, card):
                continue
            needed = nodes.low * memory.low
            key = (nodes.low, memory.low, card.low)
            if nodes.low < 2 or needed <= FULL_CARD * card.high or key in seen:
                continue
            seen.add(key)
            yield _crowded(nodes, memory, card, needed)


def _is_its_card(nodes: Claim, card: Claim) -> bool:
    """Said beside it, or of a device that both name; one model alone may be on many cards."""
    is_named = nodes.about.device is not None and card.about.device is not None
    return is_named or nodes.section == card.section or not nodes.line or not card.line


def _crowded(nodes: Claim, memory: Claim, card: Claim, needed: float) -> Finding:
    share = needed / card.high
    is_over = share > 1
    return Finding(
        severity="error" if is_over else "warning",
        check="claim-copies",
        message=f"{format_number(nodes.low)} x {memory.text.split(' per ')[0]} = {size(needed)} of {size(card.high)} "
        f"({share:.0%}){places((nodes, memory, card))}",
        place=nodes.place,
        because="it is more than the card has"
        if is_over
        else "each process has a CUDA context of its own (0.3 to 0.6 GB), and the driver keeps a part of the card",
        fix=f"{max(1, int(FULL_CARD * card.high // memory.high))} on this card",
    )


def logits(ledger: Ledger) -> Iterator[Finding]:
    """A forward pass for so many sequences, against the logits of a known vocabulary alone."""
    for claim in ledger.of("forward"):
        facts = models().get(claim.about.model or "")
        sequences = re.search(r"(\d[\d,]*) sequences", claim.words)
        if facts is None or facts.vocabulary == 0 or sequences is None:
            continue
        rows = int(sequences[1].replace(",", ""))
        token_bytes = 4.0 * rows * facts.vocabulary
        for (sequence,) in ledger.premises(claim, "sequence") or ((None,),):
            yield from _logits(ledger, claim, rows, token_bytes, sequence)
        if not ledger.near(claim, "sequence"):
            yield from _logits(ledger, claim, rows, token_bytes, None)


def _logits(ledger: Ledger, claim: Claim, rows: int, token_bytes: float, sequence: Claim | None) -> Iterator[Finding]:
    """With the tokens of a row: what the logits take; without: how many tokens would fit."""
    whole = _shared(ledger, claim)
    if sequence is None:
        longest = claim.high / token_bytes
        if longest / LOGIT_COPIES >= SHORT_ROW:
            return
        yield Finding(
            severity="warning",
            check="claim-logits",
            message=f"{claim.text} for {rows} sequences is the logits of {longest:.0f} tokens each, held once",
            place=claim.place,
            because=f"{rows} x {longest:.0f} x {token_bytes / rows / 4:,.0f} words x 4 B; a training step holds "
            f"logits, their log-softmax and their gradient: {longest / LOGIT_COPIES:.0f} tokens, with nothing left for "
            f"the layers{whole}",
            fix="say how many tokens a row has (`--claim 'sequence=256'`), or ask `gpuplan fit` with its dimensions",
        )
        return
    needed = LOGIT_COPIES * token_bytes * sequence.middle
    if needed > TOLERANCE * claim.high:
        yield contradiction(
            "claim-logits",
            message=f"{rows} sequences x {sequence.middle:.0f} tokens x {token_bytes / rows / 4:,.0f} words x 4 B x "
            f"{LOGIT_COPIES} copies = {size(needed)} of logits, not {claim.text}",
            because=f"a training step holds logits, their log-softmax and their gradient{whole}",
            fix="fewer sequences in one pass, or a loss in chunks",
            claims=(claim, sequence),
            off=needed / claim.high,
        )


def _shared(ledger: Ledger, claim: Claim) -> str:
    """What is built on it, where copies share a card."""
    nodes = [one for one in ledger.near(claim, "nodes") if one.low > 1]
    memory = ledger.near(claim, "memory")
    if not nodes or not memory:
        return ""
    whole = nodes[0].low * memory[0].low
    return f"; {nodes[0].low:.0f} x {memory[0].text.split(' per ')[0]} = {size(whole)} is built on it"


def model_sizes(ledger: Ledger) -> Iterator[Finding]:
    """Parameters of a model that has another number of them; two numbers for one model."""
    seen: list[Claim] = []
    for claim in ledger.of("parameters"):
        facts = models().get(claim.about.model or "")
        if facts is not None and facts.parameters and gap(facts.parameters, facts.parameters, claim) > TOLERANCE:
            off = gap(facts.parameters, facts.parameters, claim)
            yield contradiction(
                "claim-parameters",
                message=f"{facts.name} has {format_count(facts.parameters)} parameters, not {claim.text}",
                because=f"by its published dimensions ({facts.source})",
                fix="name the model that is meant, or what was added to it",
                claims=(claim,),
                off=off,
            )
        yield from _two_sizes(claim, seen)
        seen.append(claim)


def _two_sizes(claim: Claim, seen: list[Claim]) -> Iterator[Finding]:
    """Of one model, or where no model is named at all."""
    for other in seen:
        is_listed = not claim.section and not other.section
        is_same = claim.about.model == other.about.model and (is_listed or claim.about.model is not None)
        is_elsewhere = is_listed or (claim.line != other.line and claim.block == other.block)
        if is_same and is_elsewhere and gap(other.low, other.high, claim) > TOLERANCE:
            off = gap(other.low, other.high, claim)
            needed = TRAINING_BYTES * max(claim.middle, other.middle)
            yield contradiction(
                "claim-parameters",
                message=f"{other.text} and {claim.text}{f' of {claim.about.model}' if claim.about.model else ''}",
                because="memory, checkpoints and time go with it: training the larger holds "
                f"{size(needed)} of weights, gradients and moments",
                fix="count them: sum(p.numel() for p in model.parameters())",
                claims=(claim, other),
                off=off,
            )
            return


def card_sizes(ledger: Ledger) -> Iterator[Finding]:
    """A card with more or less memory than any card of that name."""
    seen: set[tuple[str, float]] = set()
    for claim in ledger.of("card"):
        device = re.sub(r"\s\d+GB$", "", claim.about.device or "")
        readings = gpu_readings(device) if device and not device.startswith("Mac") else ()
        sizes = sorted({gpu.memory_bytes for gpu in readings})
        known = any(_is_size(claim.low, each) for each in sizes)
        if sizes and not known and (device, claim.low) not in seen:
            seen.add((device, claim.low))
            stated = " or ".join(f"{each / 2**30:.0f} GB" for each in sizes)
            yield contradiction(
                "claim-card",
                message=f"{device} has {stated}, not {claim.text}",
                because=f"as gpuplan's table has it ({readings[0].source})",
                fix="name the card that is meant; `gpuplan gpus --known`",
                claims=(claim,),
                off=max(claim.low / sizes[-1], sizes[0] / claim.low),
            )


def _is_size(stated: float, real_bytes: int) -> bool:
    """`24GB` is what the sheet says, in GB or in GiB, of which ECC may take a part."""
    return 0.88 * real_bytes <= stated * 2**30 / 1e9 <= 1.12 * real_bytes or 0.9 <= stated / real_bytes <= 1.1


def zero_batch(ledger: Ledger) -> Iterator[Finding]:
    """Memory that grows with the batch as if an empty batch took none: a line through zero."""
    claims = [claim for claim in ledger.of("memory") if not SMALLER.search(claim.words)]
    for one in claims:
        for other in claims:
            batches = _batch(ledger, one), _batch(ledger, other)
            if batches[0] is None or batches[1] is None or one.about.model is None:
                continue
            grows, held = batches[1].middle / batches[0].middle, other.middle / one.middle
            if one.about.model == other.about.model and grows >= 2 and 0.95 <= held / grows <= 1.05:
                yield _through_zero(one, other, batches[0], batches[1], grows)


def _batch(ledger: Ledger, claim: Claim) -> Claim | None:
    return next((batch for batch in ledger.of("batch") if batch.place == claim.place), None)


def _through_zero(one: Claim, other: Claim, first: Claim, second: Claim, grows: float) -> Finding:
    parameters = parameters_of(one.about.model or "")
    weights = 2 * parameters
    is_init = weights and one.middle <= 1.3 * weights
    alone = (
        f"; {one.text} is little more than {one.about.model} parameters in 16 bits ({size(weights)}): a peak read "
        "after model init, not of training"
        if is_init
        else ""
    )
    return Finding(
        severity="error" if is_init else "warning",
        check="claim-zero-batch",
        message=f"{other.text} at batch {second.middle:.0f} is {grows:.0f} x {one.text} at batch {first.middle:.0f}: "
        f"a line through zero{places((one, other))}",
        place=other.place,
        because=f"weights and optimizer states do not grow with the batch, activations and logits do{alone}",
        fix="take training peaks at two batches (`peak_memory_active`, not `GPU peak memory` at init), and draw the "
        "line through both; `gpuplan trace` does",
    )


def checkpoints(ledger: Ledger) -> Iterator[Finding]:
    """Checkpoints of all runs against the disk; without their size, how small they would have to be."""
    for disk in ledger.of("disk"):
        for kept, count, why in _kept(ledger, disk):
            sizes = ledger.near(disk, "checkpoint") or ledger.of("checkpoint")[:1]
            if sizes:
                yield from _too_many(disk, count, sizes[0], kept, why)
            else:
                yield _small_enough(disk, count, kept, why)
            break


def _kept(ledger: Ledger, disk: Claim) -> Iterator[tuple[tuple[Claim, ...], float, str]]:
    """How many checkpoints there will be, in words: stated, or steps / interval, times the runs."""
    runs = ledger.of("runs")[:1]
    times = runs[0].middle if runs else 1.0
    for claim in (*ledger.near(disk, "checkpoints"), *ledger.of("checkpoints")):
        yield (claim, *runs), claim.middle * times, f"{claim.middle:.0f} checkpoints x {times:.0f} runs"
    steps = {claim.middle: claim for claim in ledger.of("steps")}
    for interval in ledger.of("interval"):
        if len(steps) == 1:
            step = next(iter(steps.values()))
            each = step.middle // interval.middle
            why = f"{step.middle:,.0f} steps / {interval.middle:,.0f} = {each:.0f} checkpoints x {times:.0f} runs"
            yield (interval, step, *runs), each * times, why


def _too_many(disk: Claim, count: float, each: Claim, kept: tuple[Claim, ...], why: str) -> Iterator[Finding]:
    needed = count * each.middle
    if needed > TOLERANCE * disk.high:
        yield contradiction(
            "claim-disk",
            message=f"{why} x {each.text} = {size(needed)}, not within {disk.text}",
            because=f"the disk is full after {disk.high / each.middle:.0f} checkpoints",
            fix="keep the last one or two of each run (`save_total_limit`), or a larger disk",
            claims=(disk, each, *kept),
            off=needed / disk.high,
        )


def _small_enough(disk: Claim, count: float, kept: tuple[Claim, ...], why: str) -> Finding:
    room = disk.high / count
    return Finding(
        severity="note",
        check="claim-disk",
        message=f"{why} in {disk.text}: room for {size(room)} each{places((disk, *kept))}",
        place=disk.place,
        because=f"{size(room)} is a model of {format_count(room / 4)} parameters in fp32, or {format_count(room / 12)} "
        "with its AdamW states",
        fix="say how large one is (`--claim 'checkpoint=4.2 GB'`), and keep the last one or two",
    )
