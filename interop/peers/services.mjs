// The services of the server, for the official Connect clients.
// Their descriptors are built at run time, so that no code generator is needed. They are of edition
// 2023, whose fields are sent whenever they are set: proto3 would leave out an empty name.

import { create, createFileRegistry } from "@bufbuild/protobuf";
import {
  Edition,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptions_IdempotencyLevel as Level,
} from "@bufbuild/protobuf/wkt";

const message = (name, fields) => ({
  name,
  field: Object.entries(fields).map(([fieldName, type], index) => ({
    name: fieldName,
    jsonName: fieldName,
    number: index + 1,
    label: Label.OPTIONAL,
    type,
  })),
});

export const files = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      create(FileDescriptorProtoSchema, {
        name: "greeter.proto",
        package: "greeter",
        syntax: "editions",
        edition: Edition.EDITION_2023,
        messageType: [
          message("GreetRequest", { name: Type.STRING }),
          message("GreetResponse", { greeting: Type.STRING }),
        ],
        service: [
          {
            name: "v1",
            method: [
              {
                name: "Greet",
                inputType: ".greeter.GreetRequest",
                outputType: ".greeter.GreetResponse",
              },
              {
                name: "Missing",
                inputType: ".greeter.GreetRequest",
                outputType: ".greeter.GreetResponse",
              },
            ],
          },
        ],
      }),
      create(FileDescriptorProtoSchema, {
        name: "demo.proto",
        package: "",
        syntax: "editions",
        edition: Edition.EDITION_2023,
        messageType: [
          message("SleepRequest", { millis: Type.UINT32 }),
          message("Nothing", {}),
          message("StatsResponse", {
            started: Type.UINT32,
            finished: Type.UINT32,
            dropped: Type.UINT32,
          }),
        ],
        service: [
          {
            name: "demo",
            method: [
              { name: "Sleep", inputType: ".SleepRequest", outputType: ".Nothing" },
              { name: "Panic", inputType: ".Nothing", outputType: ".Nothing" },
              {
                name: "Stats",
                inputType: ".Nothing",
                outputType: ".StatsResponse",
                options: { idempotencyLevel: Level.NO_SIDE_EFFECTS },
              },
            ],
          },
        ],
      }),
    ],
  }),
);
