"""Triton's client for asyncio: every graph, all calls at once."""

import asyncio

from cases import DATATYPES, arguments, finish
from tritonclient.grpc.aio import InferenceServerClient, InferInput


async def infer(client, name, version, tensors):
    inputs = []
    for tensor, array in tensors.items():
        inputs.append(InferInput(tensor, array.shape, DATATYPES[array.dtype.name]))
        inputs[-1].set_data_from_numpy(array)
    result = await client.infer(name, inputs, model_version=version)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


async def main():
    address, cases = arguments()
    async with InferenceServerClient(address) as client:
        facts = {"live": await client.is_server_live(), "ready": await client.is_server_ready()}
        answers = await asyncio.gather(*(infer(client, *key, tensors) for key, tensors in cases.items()))
    finish(dict(zip(cases, answers, strict=True)), facts)


asyncio.run(main())
