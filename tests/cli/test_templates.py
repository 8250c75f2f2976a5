"""Templates from the command line: what is asked for, and what is shown of it."""

import io
import sys
import time

import pytest

from moorage.cli.live import Log, Meter, Screen, View, view_item
from moorage.kit.errors import NotFoundError
from moorage.resources import Metadata, Template
from moorage.resources.template import TemplateSpec
from tests.builders import EARLY
from tests.cli.world import World

PLACE = "--account lab --datacenter dc1 --compute-cluster cc1 --network nodes"
NAME = "r-u-2404-0-k-1344-0"


def when_asked(site: World, name: str) -> Template:
    """Wait until the command has asked for a template, however slow the machine is."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return site.get(Template, name)
        except NotFoundError:
            assert time.monotonic() < deadline, f"nobody has asked for {name}"
            time.sleep(0.1)


def test_an_ova_is_asked_for_and_followed(site: World) -> None:
    def arrive() -> None:
        path = "templates/r_u-2404-0-k-1344-0"
        asked = when_asked(site, NAME)
        site.ready(asked, path=path, bytes_done=1 << 30, bytes_total=1 << 30)

    later = site.meanwhile(arrive)
    said = site.ok(
        "templates import r_u-2404-0-k-1344-0 --ova https://files.example.com/u.ova --datastore "
        f"ds1 --prefetch ds2 --sha256 {'ab' * 32} {PLACE} --wait --timeout-s 60"
    )
    later.join()

    assert f"Template {NAME}: Ready" in said.err
    spec = site.get(Template, NAME).spec
    assert spec.source.url == "https://files.example.com/u.ova"
    assert (spec.name, spec.prefetch) == ("r_u-2404-0-k-1344-0", ["ds2"])
    assert "0/1" in site.ok("templates managed -o table").out
    assert "100 %  1.00 GiB of 1.00 GiB" in site.ok(f"templates describe {NAME} -o table").out


def test_json_follows_an_import_through_nfc(site: World) -> None:
    later = site.meanwhile(lambda: site.ready(when_asked(site, "t"), path="templates/t") and None)
    said = site.ok(
        "templates import t --ova u.ova --through nfc --datastore ds1 "
        f"{PLACE} --wait --timeout-s 120 -o json"
    )
    later.join()

    assert said.data["status"]["path"] == "templates/t"
    assert said.data["spec"]["source"]["through"] == "nfc"
    library = f"templates import u --library-item a/b --through nfc --datastore ds1 {PLACE}"
    assert "through" in site.refused(library, code=2)


def test_a_log_tells_each_tenth_of_an_import_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    template = Template(
        metadata=Metadata(name="t"),
        spec=TemplateSpec.model_validate(
            {"account": "a", "datacenter": "dc1", "source": {"existing": "templates/t"}}
        ),
    )
    log = Log("Template t")
    for share in (0, 31, 33, 36, 52):
        template.status.set_condition(
            "Ready", "False", "Uploading", f"{share} of 100 MiB", now=EARLY, generation=0
        )
        log.show(view_item(template, Meter(share << 20, 100 << 20)), share)

    assert [line.partition(" t: ")[2] for line in told.getvalue().splitlines()] == [
        "Uploading, 0 % of 100 MiB",
        "Uploading, 30 % of 100 MiB",
        "Uploading, 50 % of 100 MiB",
    ]


def test_a_terminal_gets_a_bar_with_rate_and_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    screen = Screen("Template t")
    with screen:
        screen.show(View("Uploading", meter=Meter(30 << 20, 120 << 20, 1 << 20)), 4)

    assert "25 %  30 MiB of 120 MiB  1 MiB/s  1:30 left" in drawn.getvalue()
    assert "━" in drawn.getvalue()


def test_what_is_wrong_with_an_import_is_said_before_anything_is_asked(site: World) -> None:
    asked = f"templates import t --datastore ds1 {PLACE}"

    assert "sha256" in site.refused(f"{asked} --ova http://files.example.com/u.ova", code=2)
    assert "file" in site.refused(f"{asked} --ova ../secret.ova", code=2)
    assert site.ok("templates managed -o json").data == []


def test_an_item_of_a_library_is_asked_for(site: World) -> None:
    site.ok(f"templates import golden --library-item 'Images/ubuntu 24' --datastore ds1 {PLACE}")

    item = site.get(Template, "golden").spec.source.library_item
    assert item is not None
    assert (item.library, item.item) == ("Images", "ubuntu 24")
    both = f"templates import t --library-item a/b --ova a.ova --datastore ds1 {PLACE}"
    assert "exactly one" in site.refused(both, code=2)


def test_prefetch_adds_datastores_to_what_is_there(site: World) -> None:
    path = "templates/ubuntu-2404"
    site.ok(f"templates prefetch {path} --datastore ds2 --folder clusters {PLACE}")
    site.ok(f"templates prefetch {path} --datastore ds3")

    spec = site.get(Template, "ubuntu-2404").spec
    assert spec.prefetch == ["ds2", "ds3"]
    site.ok("templates mark golden/vm-1 --account lab --datacenter dc1")
    assert site.get(Template, "vm-1").spec.source.virtual_machine == "golden/vm-1"
    site.ok("templates delete vm-1 --yes")
