"""The promises that have to hold when a run has come to rest, as far as clients can tell."""

from collections import Counter

from eventdemo.audit import audit
from eventdemo.facts import FailureCode
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.buyers import SimulatedPurchase
from eventdemo.lab.simulation.plan import ProductPlan
from eventdemo.lab.simulation.rollback import READ_MODELS_S, broken_afterwards
from eventdemo.lab.simulation.world import World
from eventdemo.readmodels.read_models import ReadModels


async def broken_promises(world: World) -> list[str]:
    """Every promise that the run broke, in words; none if all is well."""
    broken = list(world.clients.broken)
    for purchase in world.clients.purchases:
        broken += _of_purchase(purchase)
    broken += await _of_receipt(world)
    for product in world.plan.products:
        broken += [f"{product.product_id}: {line}" for line in _of_product(world, product)]
    return broken


def _of_purchase(purchase: SimulatedPurchase) -> list[str]:
    broken: list[str] = []
    promised = set(purchase.promised)
    if len(promised) > 1:
        broken.append(f"One idempotency key has two purchases: {' '.join(sorted(promised))}")
    if promised and not purchase.outcomes:
        broken.append(f"{purchase.promised[0]} has a 202 and no outcome")
    for outcome in purchase.outcomes[:1]:
        step = purchase.step
        readable = outcome.product_id != ""
        if readable and (outcome.product_id, outcome.quantity) != (
            step.product_id,
            step.quantity,
        ):
            broken.append(f"{outcome.request_id} asked for {step} and was told {outcome}")
        if (outcome.order_id is None) == (outcome.code is None):
            broken.append(
                f"{outcome.request_id} is neither confirmed nor failed, or both: {outcome}"
            )
    return broken


async def _of_receipt(world: World) -> list[str]:
    engine = world.unfaulted_engine()
    read_models = ReadModels(world.read_models)
    try:
        head = await engine.pool.head()
        reached = await read_models.reach(head, READ_MODELS_S) if head else True
        still_aside = await broken_afterwards(read_models)
        receipt = await audit(engine, read_models)
    finally:
        await read_models.close()
    broken = [f"Audit: {line}" for line in receipt.broken] + still_aside
    broken += [f"{row.stream} cannot be read: {row.reason}" for row in receipt.unreadable]
    if not reached:
        broken.append(f"The read models do not reach position {head}.")
    # What is put into the queue's log behind its back counts as accepted, and is nobody's purchase.
    injected = 0
    if world.plan.deployment != "aws":
        corrupt = [step for step in world.steps if isinstance(step, s.CorruptMessage)]
        injected = sum(step.topic == 0 for step in corrupt)
    if receipt.pending > injected:
        broken.append(f"{receipt.pending} purchases are pending for ever.")
    promised = sum(bool(purchase.promised) for purchase in world.clients.purchases)
    if not promised <= receipt.accepted <= len(world.clients.purchases) + injected:
        broken.append(
            f"{receipt.accepted} purchases were accepted; {promised} have a 202, of "
            f"{len(world.clients.purchases)} that were tried."
        )
    for product_id, units in world.clients.received.items():
        if receipt.products[product_id].received != units:
            broken.append(f"{product_id}: {units} units arrived, the events say otherwise.")
    return broken


def _of_product(world: World, product: ProductPlan) -> list[str]:
    purchases = [p for p in world.clients.purchases if p.step.product_id == product.product_id]
    outcomes = [outcome for purchase in purchases for outcome in purchase.outcomes[:1]]
    codes = Counter(outcome.code for outcome in outcomes if outcome.code)
    sold = sum(outcome.quantity for outcome in outcomes if outcome.order_id)
    summary = f"{sold} of {product.units} units sold, {dict(codes)}"
    broken: list[str] = []
    garbage = (s.CorruptMessage, s.LaterEvent, s.Rollback)
    unreadable = any(isinstance(step, garbage) for step in world.steps)
    excused = unreadable or product.product_id in world.failing.products
    if codes[FailureCode.INTERNAL_ERROR] and not excused:
        broken.append(f"internal errors without a cause: {summary}")
    if not product.registered and (sold or codes[FailureCode.OUT_OF_STOCK]):
        broken.append(f"it was never registered: {summary}")
    if product.registered and codes[FailureCode.UNKNOWN_PRODUCT]:
        broken.append(f"it was registered: {summary}")
    retired = [step for step in world.steps if isinstance(step, s.Retired)]
    if codes[FailureCode.PRODUCT_RETIRED] and all(
        step.product_id != product.product_id for step in retired
    ):
        broken.append(f"it was never retired: {summary}")
    restocks = [step for step in world.steps if isinstance(step, s.Restocked | s.LaterEvent)]
    if any(step.product_id == product.product_id for step in restocks):
        return broken
    if sold > product.units:
        broken.append(f"oversold: {summary}")
    # Units may have gone to who never got an answer.
    unanswered = sum(not purchase.promised for purchase in purchases)
    singles = all(purchase.step.quantity == 1 for purchase in purchases)
    if singles and codes[FailureCode.OUT_OF_STOCK] and sold + unanswered < product.units:
        broken.append(f"undersold: {summary}")
    return broken


async def at_rest(world: World) -> list[str]:
    """Runs a world, checks it and ends it; an exception that escapes is a broken promise too."""
    try:
        await world.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the run did not come to an end
        return [f"The run ended with {type(error).__name__}: {error}"]
    else:
        return await broken_promises(world)
    finally:
        await world.end()
