"""docs/runbook.md: a section for each alert that the project brings, and an alert for each section."""

from __future__ import annotations

import re

import pytest
import yaml

from app.base.program import APP_ROOT
from tools.bicep import body_of, parse

PAGE = (APP_ROOT / "docs" / "runbook.md").read_text()
UNITS = APP_ROOT / "deploy" / "vm" / "units"
# What somebody at night looks for in a section, in this order.
PARTS = ("means", "look first", "causes", "closes", "cured")


def sections_of(group: str) -> dict[str, str]:
    """Give the sections below a heading of the page, by their headings."""
    of_group = re.split(rf"(?m)^## {group}\n", PAGE)[1].split("\n## ")[0]
    return dict(re.findall(r"(?ms)^### (.+?)\n(.*?)(?=^### |\Z)", of_group))


AZURE = sections_of("Alerts in Azure")
PROMETHEUS = sections_of("Alerts of Prometheus")
MAIL = sections_of("Mail, and silence")
ALERTS = {**AZURE, **PROMETHEUS, **MAIL}


def rules_of_azure() -> str:
    return (APP_ROOT / "deploy" / "azure" / "alerts.bicep").read_text()


def rules_of_prometheus() -> dict[str, dict[str, str]]:
    document = yaml.safe_load((APP_ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    return {rule["alert"]: rule["annotations"] for group in document["groups"] for rule in group["rules"]}


def test_each_rule_of_azure_has_its_section_and_each_section_its_rule() -> None:
    rules = re.findall(r"name: '([\w-]+)'\n    severity: (\d)", rules_of_azure())
    listed = re.findall(r"(?m)^\| \[([\w-]+)\]\(#\1\) \|.*\| (\d) \|$", PAGE)

    assert sorted(AZURE) == sorted(name for name, _ in rules)
    assert sorted(listed) == sorted(rules)


def test_each_alert_of_prometheus_has_its_section_and_each_section_its_alert() -> None:
    assert sorted(PROMETHEUS) == sorted(rules_of_prometheus())


def test_each_unit_that_mails_has_its_section() -> None:
    mailing = {path.stem for path in UNITS.glob("*.service") if "OnFailure=" in path.read_text()}

    assert mailing == {name for name in MAIL if name.startswith("microshare-forwarder")}


def test_an_alert_of_azure_says_where_its_section_is() -> None:
    alerts = parse(APP_ROOT / "deploy" / "azure" / "alerts.bicep").of("resources")["alerts"]

    assert str(body_of(alerts)["properties"]["description"]).endswith("docs/runbook.md#${rule.name}")


@pytest.mark.parametrize(("alert", "annotations"), rules_of_prometheus().items())
def test_an_alert_of_prometheus_says_where_its_section_is(alert: str, annotations: dict[str, str]) -> None:
    assert annotations["runbook_url"] == f"docs/runbook.md#{alert.lower()}"


@pytest.mark.parametrize("alert", ALERTS)
def test_a_section_has_all_that_is_looked_for_at_night(alert: str) -> None:
    told = ALERTS[alert].replace("| likely cause, the likeliest first |", "**Causes**").lower()
    found = [part for part in re.findall(r"\*\*([a-z ]+)", told) if part in PARTS]

    assert tuple(dict.fromkeys(found)) == PARTS


def test_each_query_that_the_page_asks_is_there() -> None:
    code = re.findall(r"(?ms)^```sh\n(.*?)^```|(?<!`)`([^`\n]+)`(?!`)", PAGE)
    asked = {name for block in code for name in re.findall(r"(?<![\w-])query ([a-z][a-z-]*)", "".join(block))}
    there = {path.stem for path in (APP_ROOT / "deploy" / "azure" / "queries").glob("*.kql")}

    assert len(asked) > 5
    assert asked <= there
