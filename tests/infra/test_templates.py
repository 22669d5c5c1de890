"""The templates fit together: they can be deployed in their order, and import only what is exported."""

import json
import re
from pathlib import Path

import pytest

from infra.app import PAGE, TEMPLATES, make_stacks
from infra.diagram import draw, update_page
from infra.template import MAX_TEMPLATE_BYTES, Stack, sub

ROOT = Path(__file__).parents[2]


def test_written_templates_are_current(tmp_path):
    written = {path.name: path.read_text() for path in TEMPLATES.iterdir()}
    current = [stack.write(tmp_path) for stack in make_stacks()]
    assert written == {path.name: path.read_text() for path in current}, "run: .venv/bin/python -m infra.app"


def test_diagram_is_current():
    page = PAGE.read_text()
    assert page == update_page(page, make_stacks()), "run: .venv/bin/python -m infra.app"


def test_diagram_shows_who_takes_from_whom():
    giver, taker, other = Stack("giver", "gives"), Stack("taker", "takes"), Stack("other", "does neither")
    giver.resource("Topic", "AWS::SNS::Topic", {})
    giver.export("Name", sub("${Project}"))
    taker.resource("Topic", "AWS::SNS::Topic", {"TopicName": giver["Name"]})
    drawn = draw([giver, taker, other])
    assert "    giver --> taker" in drawn.splitlines()
    assert "other -->" not in drawn
    assert "--> other" not in drawn
    assert "SNS topic" in drawn


def test_diagram_needs_a_place():
    with pytest.raises(ValueError, match="the page needs the lines <!-- diagram"):
        update_page("no place", [])


def test_templates_are_small_enough_to_deploy_without_a_bucket(tmp_path):
    for stack in make_stacks():
        assert stack.write(tmp_path).stat().st_size <= MAX_TEMPLATE_BYTES, stack.name


def test_stacks_import_only_from_stacks_before_them():
    known = set()
    for stack in make_stacks():
        text = json.dumps(stack.to_template())
        imported = set(re.findall(r'"Fn::ImportValue": \{"Fn::Sub": "\$\{Project\}-(\w+)"\}', text))
        assert text.count('"Fn::ImportValue"') == len(
            re.findall(r'"Fn::ImportValue": \{"Fn::Sub": "\$\{Project\}-\w+"\}', text)
        ), stack.name
        assert imported <= known, stack.name
        known |= set(stack.sections["Outputs"])


def test_no_two_stacks_export_the_same_name():
    names = [name for stack in make_stacks() for name in stack.sections["Outputs"]]
    assert len(names) == len(set(names))


def test_templates_are_the_same_each_time():
    first, second = ([stack.to_template() for stack in make_stacks()] for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_templates_hold_no_account_and_no_secret():
    text = json.dumps([stack.to_template() for stack in make_stacks()])
    assert not re.search(r"\b\d{12}\b", text)
    assert not re.search(r"AKIA[0-9A-Z]{16}", text)
    assert "NoEcho" not in text


def test_every_stack_is_in_the_docs():
    page = (ROOT / "docs/cloud-deploy.md").read_text()
    for stack in make_stacks():
        assert f"--template-file infra/templates/{stack.name}.template.json" in page, stack.name
        assert (ROOT / "infra" / stack.name / "stack.py").exists()


def test_stacks_are_torn_down_in_the_opposite_order():
    deployment, removal = ((ROOT / "docs" / name).read_text() for name in ("cloud-deploy.md", "cloud-run.md"))
    listed = re.search(r"^for stack in (.*); do$", removal, re.MULTILINE)[1].split()
    assert listed == [stack.name for stack in reversed(make_stacks())]
    deployed = re.findall(r"--template-file infra/templates/(\w+)\.template\.json", deployment)
    assert deployed == list(reversed(listed))


def test_stack_refuses_an_unknown_output():
    with pytest.raises(KeyError, match="stack one exports no Colour"):
        Stack("one", "a stack")["Colour"]


def test_stack_refuses_a_second_resource_of_a_name():
    stack = Stack("one", "a stack")
    stack.resource("Topic", "AWS::SNS::Topic", {})
    with pytest.raises(ValueError, match="stack one has two Resources named Topic"):
        stack.resource("Topic", "AWS::SNS::Topic", {})


def test_stack_leaves_out_empty_sections():
    stack = Stack("one", "a stack")
    stack.export("Name", sub("${Project}"))
    assert set(stack.to_template()) == {"AWSTemplateFormatVersion", "Description", "Parameters", "Outputs"}
