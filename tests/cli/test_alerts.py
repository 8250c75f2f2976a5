"""``moorage alerts``: list, acknowledge, silence, and the ways by which people are told."""

from datetime import timedelta

from moorage.hub.alerting.watching import look
from moorage.resources import Gateway
from moorage.store import alerts
from tests.cli.world import GATEWAY, World


async def go_silent(world: World) -> None:
    store = world.hub.store
    gateway = await store.get(Gateway, "", GATEWAY)
    gateway.status.enrolled, gateway.status.connected = True, False
    gateway.status.last_seen_at = store.clock.now() - timedelta(hours=1)
    await store.put_status(gateway)
    await look(store, None)


def test_an_alert_is_listed_and_looked_after(site: World) -> None:
    site.hub.do(go_silent(site))

    (alert,) = site.ok("alerts list --hub").data
    table = site.ok("alerts list --hub -o table").out
    said = site.ok(f"alerts ack {alert['id']} --note 'on my way'").err

    assert alert["rule"] == "GatewaySilent"
    assert f"Gateway {GATEWAY}" in table
    assert "looked after by admin" in said
    (alert,) = site.ok("alerts list --hub --all").data
    assert (alert["acknowledgedBy"], alert["note"]) == ("admin", "on my way")
    assert "nobody" in site.ok(f"alerts ack {alert['id']} --undo").err
    assert site.ok("alerts list").data == []  # of the project
    assert "there is no alert" in site.refused(f"alerts ack {'0' * 8}-0000-0000-0000-{'0' * 12}")


def test_channels_and_silences_come_and_go(world: World) -> None:
    world.log_in()
    secret = world.ok("alerts channels add chat --url https://chat.example.com/x").out.strip()
    world.ok("alerts channels add team --mail ops@example.com --rule GatewaySilent")
    world.ok("alerts channels test team")
    world.ok("alerts silence rebuild --for 4h --reason tests --kind Cluster")

    assert len(secret) > 30
    assert secret not in str(world.ok("alerts channels list").data)
    assert "ops@example.com" in world.ok("alerts channels list -o table").out
    assert len(world.ok("alerts channels log team").data) == 1
    assert "rebuild" in world.ok("alerts silences list -o table").out
    assert "write a number" in world.refused("alerts silence x --for long --reason y", code=2)
    world.ok("alerts silences delete rebuild --yes")
    world.ok("alerts channels delete chat --yes")
    world.ok("alerts channels delete team --yes")
    assert world.ok("alerts channels list").data == []
    assert world.hub.do(alerts.due_deliveries(world.hub.store, limit=5)) == []
