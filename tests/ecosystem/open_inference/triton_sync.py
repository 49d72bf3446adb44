"""Triton's client: everything that it can ask for here, and every graph."""

from cases import DATATYPES, arguments, finish
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException


def infer(client, name, version, tensors, **options):
    inputs = []
    for tensor, array in tensors.items():
        inputs.append(InferInput(tensor, array.shape, DATATYPES[array.dtype.name]))
        inputs[-1].set_data_from_numpy(array)
    return client.infer(name, inputs, model_version=version, **options)


def failure(call, *args, **options):
    try:
        call(*args, **options)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def main():
    address, cases = arguments()
    outputs, facts = {}, {}
    with InferenceServerClient(address) as client:
        facts["live"], facts["ready"] = client.is_server_live(), client.is_server_ready()
        facts["server"] = client.get_server_metadata(as_json=True)
        index = client.get_model_repository_index(as_json=True)["models"]
        facts["index"] = [[model["name"], model["version"], model["state"]] for model in index]
        for (name, version), tensors in cases.items():
            assert client.is_model_ready(name, version)
            metadata = client.get_model_metadata(name, version, as_json=True)
            assert {tensor["name"] for tensor in metadata["inputs"]} == set(tensors)
            config = client.get_model_config(name, version, as_json=True)["config"]
            assert config["max_batch_size"] >= 1
            assert [tensor["name"] for tensor in config["input"]] == [tensor["name"] for tensor in metadata["inputs"]]
            result = infer(client, name, version, tensors, request_id="mine")
            assert result.get_response().id == "mine"
            names = [output.name for output in result.get_response().outputs]
            outputs[name, version] = {output: result.as_numpy(output) for output in names}
            only = infer(client, name, version, tensors, outputs=[InferRequestedOutput(names[-1])])
            assert [output.name for output in only.get_response().outputs] == names[-1:]
        statistics = client.get_inference_statistics(as_json=True)["model_stats"]
        facts["statistics"] = {
            f"{one['name']}|{one['version']}": [int(one["execution_count"]), one["inference_stats"]["success"]["count"]]
            for one in statistics
            if "execution_count" in one
        }
        name, version = "digits", "2"
        tensors = cases[name, version]
        facts["unknown model"] = failure(infer, client, "nonesuch", "", tensors)
        facts["unknown version"] = failure(infer, client, name, "77", tensors)
        short = {**tensors, "latent": tensors["latent"][:, :-1]}
        facts["wrong shape"] = failure(infer, client, name, version, short)
        facts["no loading"] = failure(client.load_model, name)
        facts["too late"] = failure(infer, client, name, version, tensors, client_timeout=1e-6)
    finish(outputs, facts)


main()
