// A client of any service of Muserve over gRPC-Web, for pages and for Node. Its messages are made of the contract's
// descriptors when the program runs: no generated code.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

// descriptors: the bytes of muserve.binpb. service: "muserve.v1.ImageService". server: "http://localhost:8001".
export function connect(descriptors, service, server) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
  return createClient(registry.getService(service), createGrpcWebTransport({ baseUrl: server }));
}
