"""Keys as operators meet them: one active key for every algorithm in use, made when it is first needed."""

from dataclasses import replace

import pytest

from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.operations.context import OperationContext
from watchword.operations.resources import CreateResource, create_resource
from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
from watchword.ports.agents import Role
from watchword.ports.keys import KeyState

pytestmark = pytest.mark.anyio


def with_signer(scene, role: Role = Role.ADMIN) -> OperationContext:
    return replace(scene.context(role), signer=FileSigner(MasterKey(bytes(range(32)))))


async def algorithms(scene) -> list[tuple[str, KeyState]]:
    return sorted((key.algorithm, key.state) for key in await scene.store.signing_keys())


async def test_the_first_key_of_an_algorithm_signs_at_once(scene):
    key = await create_signing_key(with_signer(scene), CreateSigningKey(algorithm="ES256"))
    assert await algorithms(scene) == [("ES256", KeyState.ACTIVE)]
    assert (scene.last.action, scene.last.reason, scene.last.kid) == ("key.create", "created", key.kid)


async def test_a_second_active_key_is_refused(scene):
    await create_signing_key(with_signer(scene), CreateSigningKey(algorithm="ES256"))
    with pytest.raises(Exception, match=r"key\.exists"):
        await create_signing_key(with_signer(scene), CreateSigningKey(algorithm="ES256"))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "es256", ""])
async def test_an_algorithm_we_do_not_sign_with_is_refused(scene, algorithm):
    assert await scene.refusal(create_signing_key, CreateSigningKey(algorithm=algorithm), Role.ADMIN) == "key.algorithm"


async def test_only_an_admin_makes_keys(scene):
    assert await scene.refusal(create_signing_key, CreateSigningKey(), Role.MANAGER) == "operator.role"


async def test_a_resource_that_names_no_algorithm_has_the_servers(scene):
    context = replace(with_signer(scene), default_algorithm="PS256")
    named = await create_resource(context, CreateResource(name="a", scopes=("x",), signing_algorithm="ES256"))
    unnamed = await create_resource(context, CreateResource(name="b", scopes=("x",)))
    assert (named.signing_algorithm, unnamed.signing_algorithm) == ("ES256", "PS256")


async def test_a_resource_that_needs_another_algorithm_brings_its_key_along(scene):
    context = with_signer(scene)
    await create_signing_key(context, CreateSigningKey(algorithm="ES256"))
    await create_resource(context, CreateResource(name="plain", scopes=("read:data",)))
    assert await algorithms(scene) == [("ES256", KeyState.ACTIVE)]
    assert scene.last.kid == ""
    await create_resource(context, CreateResource(name="rsa", scopes=("read:data",), signing_algorithm="RS256"))
    assert await algorithms(scene) == [("ES256", KeyState.ACTIVE), ("RS256", KeyState.ACTIVE)]
    assert scene.last.action == "resource.create"
    assert scene.last.kid
