import importlib
import pkgutil

import pytest

import watchword.operations
import watchword.operations.server_info
from tests import rule
from watchword.errors import Forbidden
from watchword.operations.operation import DECLARED, operation
from watchword.operations.roles import LEAST_ROLE, authorise
from watchword.ports.agents import Role

ORDER = (Role.VIEWER, Role.AUDITOR, Role.MANAGER, Role.ADMIN)


@rule("A1", "KF-97")
@pytest.mark.parametrize("role", [None, *ORDER])
@pytest.mark.parametrize("action", LEAST_ROLE)
def test_a_role_may_do_exactly_what_the_table_says(action, role):
    is_allowed = role is not None and ORDER.index(role) >= ORDER.index(LEAST_ROLE[action])
    if is_allowed:
        authorise(role, action)
    else:
        with pytest.raises(Forbidden) as caught:
            authorise(role, action)
        assert caught.value.reason == "operator.role"


@rule("A1")
def test_an_action_that_the_table_does_not_know_is_nobodys():
    with pytest.raises(Forbidden):
        authorise(Role.ADMIN, "agent.impersonate")


@rule("A1")
def test_an_operation_without_a_row_in_the_table_cannot_be_declared():
    with pytest.raises(LookupError):
        operation("agent.impersonate")


@rule("A1")
def test_an_action_has_one_operation():
    async def another(context, command): ...

    with pytest.raises(LookupError):
        operation("server.show")(another)


@rule("A1")
def test_every_row_of_the_table_belongs_to_an_operation():
    for module in pkgutil.iter_modules(watchword.operations.__path__):
        importlib.import_module(f"watchword.operations.{module.name}")
    assert DECLARED.keys() == LEAST_ROLE.keys()


@rule("A4")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR])
def test_who_may_only_look_changes_nothing(role):
    for action in LEAST_ROLE:
        if action.rpartition(".")[2] in {"create", "update", "delete", "suspend", "resume", "revoke", "grant"}:
            with pytest.raises(Forbidden):
                authorise(role, action)


@rule("A4")
def test_only_an_admin_makes_operators():
    with pytest.raises(Forbidden):
        authorise(Role.MANAGER, "operator.create")
    authorise(Role.ADMIN, "operator.create")
