"""KServe's client: every graph, with raw tensors and with typed ones."""

import asyncio

import grpc
import numpy as np
from cases import DATATYPES, arguments, finish
from kserve import InferenceGRPCClient, InferInput, InferRequest


def request(name, version, tensors, *, raw):
    inputs = []
    for tensor, array in tensors.items():
        given = InferInput(tensor, list(array.shape), DATATYPES[array.dtype.name])
        given.set_data_from_numpy(array, binary_data=raw)
        inputs.append(given)
    return InferRequest(name, inputs, request_id="mine", model_version=version)


def arrays(response):
    return {output.name: output.as_numpy() for output in response.outputs}


async def main():
    address, cases = arguments()
    outputs = {}
    async with InferenceGRPCClient(address) as client:
        facts = {"live": await client.is_server_live(), "ready": await client.is_server_ready()}
        facts["ready models"] = [await client.is_model_ready(name) for name in ("digits", "music.accompanist")]
        for (name, version), tensors in cases.items():
            response = await client.infer(request(name, version, tensors, raw=True))
            assert (response.id, response.model_name, response.model_version) == ("mine", name, version)
            outputs[name, version] = arrays(response)
            typed = arrays(await client.infer(request(name, version, tensors, raw=False)))
            for output, array in outputs[name, version].items():
                np.testing.assert_array_equal(typed[output], array)
        try:
            await client.is_model_ready("nonesuch")
        except grpc.RpcError as error:
            facts["unknown model"] = error.code().name
    finish(outputs, facts)


asyncio.run(main())
