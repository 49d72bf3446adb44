"""MLServer has no class for a client: its stub and its codecs. Every graph, with typed tensors and with raw ones."""

import grpc
import numpy as np
from cases import arguments, finish
from mlserver.codecs import NumpyCodec
from mlserver.grpc import converters, dataplane_pb2
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest


def arrays(response):
    decoded = converters.ModelInferResponseConverter.to_types(response)
    assert decoded.id == "mine"
    # Its codec makes columns of vectors.
    return {o.name: np.reshape(NumpyCodec.decode_output(o), o.shape) for o in decoded.outputs}


def main():
    address, cases = arguments()
    outputs, facts = {}, {}
    size = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, size) as channel:
        stub = GRPCInferenceServiceStub(channel)
        facts["live"] = stub.ServerLive(dataplane_pb2.ServerLiveRequest()).live
        facts["ready"] = stub.ServerReady(dataplane_pb2.ServerReadyRequest()).ready
        about = converters.ServerMetadataResponseConverter.to_types(
            stub.ServerMetadata(dataplane_pb2.ServerMetadataRequest())
        )
        facts["server"] = about.model_dump()
        index = stub.RepositoryIndex(dataplane_pb2.RepositoryIndexRequest()).models
        facts["index"] = [[model.name, model.version, model.state] for model in index]
        for (name, version), tensors in cases.items():
            described = stub.ModelMetadata(dataplane_pb2.ModelMetadataRequest(name=name, version=version))
            metadata = converters.ModelMetadataResponseConverter.to_types(described)
            assert {tensor.name for tensor in metadata.inputs} == set(tensors)
            inputs = []
            for tensor, array in tensors.items():
                inputs.append(NumpyCodec.encode_input(tensor, array))
                inputs[-1].shape = list(array.shape)
            request = InferenceRequest(id="mine", inputs=inputs)
            answers = [
                arrays(stub.ModelInfer(converters.ModelInferRequestConverter.from_types(request, name, version, raw)))
                for raw in (False, True)
            ]
            outputs[name, version] = answers[0]
            for output, array in answers[0].items():
                np.testing.assert_array_equal(answers[1][output], array)
    finish(outputs, facts)


main()
