"""The description of the admin API is complete enough to be used without asking."""

import pytest

from tests import rule
from tests.asgi.desk import ISSUER

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(desk):
    async with desk.client(None) as anybody:
        response = await anybody.get("/openapi.json")
    assert response.status_code == 200
    return response.json()


def operations(document):
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def test_it_is_openapi_3_1_for_this_issuer(document):
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": ISSUER}]


@rule("A14")
def test_it_does_not_tell_the_version_of_the_server(document):
    assert document["info"]["version"] == "1"


def test_every_operation_has_a_name_a_sentence_and_the_credential(document):
    named = [operation["operationId"] for operation in operations(document)]
    assert len(set(named)) == len(named)
    for operation in operations(document):
        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert operation["security"] == [{"operator": []}]
    assert document["components"]["securitySchemes"]["operator"]["scheme"] == "bearer"


def test_every_refusal_is_described_as_a_problem(document):
    for operation in operations(document):
        assert {"400", "401", "403", "503"} <= operation["responses"].keys()
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}


def test_what_is_given_is_never_null_and_what_is_taken_is_closed(document):
    for name, schema in document["components"]["schemas"].items():
        if name.startswith("New") and not name.endswith("View"):
            assert schema["additionalProperties"] is False
        if name.endswith(("View", "Page", "List")):
            assert "null" not in str(schema)


def test_nothing_of_the_frameworks_own_errors_is_left(document):
    assert "HTTPValidationError" not in document["components"]["schemas"]
