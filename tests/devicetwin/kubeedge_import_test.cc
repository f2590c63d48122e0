// Property: KubeEdge's Device and DeviceModel become devices with their properties and desired values, the same every
// time, or are refused with the place and the remedy; a hostile text costs no more than its limits.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "devicetwin/devices.h"

namespace landfall {
namespace {

constexpr const char* boiler = R"(
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: boiler-model}
spec:
  protocol: modbus
  properties:
  - {name: temperature, description: set point, type: INT, accessMode: ReadWrite, minimum: "5", maximum: "95", unit: celsius}
  - {name: pressure, type: DOUBLE, accessMode: ReadOnly}
  - {name: valve, type: BOOLEAN, accessMode: ReadWrite}
  - {name: unused, type: STRING, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: boiler
  namespace: plant
  labels: {description: the big one}
spec:
  deviceModelRef: {name: boiler-model}
  nodeName: edge-1
  protocol:
    protocolName: modbus
    configData: {serialPort: /dev/ttyS0, baudRate: 9600, ratio: 1.10, tcp: false, note: "9600"}
  properties:
  - name: temperature
    desired: {value: "30"}
    collectCycle: 1000
    visitors: {protocolName: modbus, configData: {register: HoldingRegister, offset: 2}}
  - name: pressure
    desired: {value: "2"}
    pushMethod: {mqtt: {address: "tcp://x:1883"}}
  - name: valve
    desired: {value: "true"}
)";
constexpr const char* model_elsewhere = "DeviceModel boiler-model is not in the text";

// In the model's namespace, which is default in the text.
std::string in_default(std::string yaml) {
  yaml.erase(yaml.find("  namespace: plant\n"), sizeof("  namespace: plant\n") - 1);
  return yaml;
}
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}
std::string error_of(const std::string& yaml) {
  const auto imported = import_kubeedge(yaml);
  if (imported) return "";
  EXPECT_EQ(imported.error().code, Code::out_of_range);
  return imported.error().detail;
}
bool has_warning(const ImportedDevice& device, const std::string& text) {
  return std::ranges::any_of(device.warnings, [&](const auto& w) { return w.find(text) != std::string::npos; });
}

TEST(KubeEdgeImport, ADeviceBecomesARecordPropertiesAndDesiredValues) {
  const auto imported = import_kubeedge(in_default(boiler));
  ASSERT_TRUE(imported.ok()) << imported.error().detail;
  ASSERT_EQ(imported->size(), 1u);
  const auto& device = imported->front();
  EXPECT_EQ(device.record.device, "boiler");
  EXPECT_EQ(device.record.node, "edge-1");
  EXPECT_EQ(device.record.description, "the big one");
  EXPECT_EQ(device.record.model, "boiler-model");
  EXPECT_EQ(device.record.protocol, "modbus");
  ASSERT_EQ(device.properties.size(), 3u) << "only what the device lists";
  const auto& temperature = device.properties.at("temperature");
  EXPECT_EQ(temperature.type, "int");
  EXPECT_EQ(temperature.minimum, "5");
  EXPECT_EQ(temperature.maximum, "95");
  EXPECT_EQ(temperature.unit, "celsius");
  EXPECT_EQ(temperature.description, "set point");
  EXPECT_FALSE(temperature.optional || temperature.read_only);
  EXPECT_TRUE(device.properties.at("pressure").read_only);
  EXPECT_EQ(device.properties.at("pressure").type, "double");
  EXPECT_EQ(device.desired, (std::map<std::string, std::string>{{"temperature", "30"}, {"valve", "true"}}));
  EXPECT_EQ(
      device.record.configuration,
      R"({"apiVersion":"devices.kubeedge.io/v1beta1","protocol":{"protocolName":"modbus","configData":{"serialPort":"/dev/ttyS0","baudRate":9600,"ratio":1.10,"tcp":false,"note":"9600"}},"properties":[{"name":"temperature","desired":{"value":"30"},"collectCycle":1000,"visitors":{"protocolName":"modbus","configData":{"register":"HoldingRegister","offset":2}}},{"name":"pressure","desired":{"value":"2"},"pushMethod":{"mqtt":{"address":"tcp://x:1883"}}},{"name":"valve","desired":{"value":"true"}}]})");
}

TEST(KubeEdgeImport, WhatIsNotTakenOverIsSaid) {
  const auto imported =
      import_kubeedge("kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n---" + in_default(boiler));
  ASSERT_TRUE(imported.ok()) << imported.error().detail;
  const auto& device = imported->front();
  EXPECT_TRUE(has_warning(device, "document 1, ConfigMap c: neither Device nor DeviceModel"));
  EXPECT_TRUE(has_warning(device, "pressure is read-only: its desired value is left out"));
  EXPECT_TRUE(has_warning(device, "pressure: pushMethod is kept and not acted on"));
  EXPECT_TRUE(has_warning(device, "valve: KubeEdge's modbus mapper writes 0"));
  EXPECT_FALSE(has_warning(device, "temperature"));
  EXPECT_EQ(device.warnings.size(), 4u);
}

TEST(KubeEdgeImport, AModelOfAnotherNamespaceIsNotTaken) {
  const auto imported = import_kubeedge(boiler);
  ASSERT_TRUE(imported.ok()) << imported.error().detail;
  const auto& device = imported->front();
  EXPECT_EQ(device.record.device, "plant/boiler");
  EXPECT_TRUE(has_warning(device, model_elsewhere));
  EXPECT_EQ(device.properties.at("temperature").type, "string");
  EXPECT_EQ(device.desired.at("temperature"), "\"30\"");
}

// As examples/kubeedge-counter-demo has it.
TEST(KubeEdgeImport, DevicesOfV1alpha2AreReadToo) {
  const auto imported = import_kubeedge(R"(
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata:
  name: counter
  labels:
    description: 'counter'
    manufacturer: 'test'
spec:
  deviceModelRef:
    name: counter-model
  nodeSelector:
    nodeSelectorTerms:
    - matchExpressions:
      - key: 'kubernetes.io/hostname'
        operator: In
        values:
        - edge-node
status:
  twins:
    - propertyName: status
      desired:
        metadata:
          type: string
        value: 'OFF'
      reported:
        metadata:
          type: string
        value: '0'
---
apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata:
  name: counter-model
  namespace: default
spec:
  properties:
  - name: status
    description: counter status
    type:
      string:
        accessMode: ReadWrite
        defaultValue: ''
  - name: level
    type:
      int: {accessMode: ReadOnly, minimum: 1, maximum: 5, unit: m}
)");
  ASSERT_TRUE(imported.ok()) << imported.error().detail;
  const auto& device = imported->front();
  EXPECT_EQ(device.record.device, "counter");
  EXPECT_EQ(device.record.node, "edge-node");
  EXPECT_EQ(device.record.description, "counter");
  ASSERT_EQ(device.properties.size(), 1u);
  EXPECT_EQ(device.properties.at("status").type, "string");
  EXPECT_EQ(device.desired.at("status"), "\"OFF\"");
  EXPECT_TRUE(device.warnings.empty()) << ::testing::PrintToString(device.warnings);
}

TEST(KubeEdgeImport, JsonAndListsAreRead) {
  const auto imported = import_kubeedge(
      R"({"apiVersion":"v1","kind":"List","items":[{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"Device","metadata":{"name":"a"},"spec":{"properties":[{"name":"p","desired":{"value":"x\"yA"}}]}},{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"Device","metadata":{"name":"b"},"spec":{}}]})");
  ASSERT_TRUE(imported.ok()) << imported.error().detail;
  ASSERT_EQ(imported->size(), 2u);
  EXPECT_EQ((*imported)[0].desired.at("p"), R"("x\"yA")");
  EXPECT_EQ((*imported)[1].record.device, "b");
}

TEST(KubeEdgeImport, ItIsTheSameEveryTime) {
  const auto first = import_kubeedge(boiler), second = import_kubeedge(boiler);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->front().record.configuration, second->front().record.configuration);
  EXPECT_EQ(first->front().warnings, second->front().warnings);
  EXPECT_EQ(first->front().desired, second->front().desired);
}

TEST(KubeEdgeImport, FaultsNameDocumentFieldAndRemedy) {
  const std::string good = in_default(boiler);
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", "no Device"},
      {"a: [", "not YAML"},
      {", a", "more than 262144 values"},
      {"- 1", "document 1: no Kubernetes object"},
      {"kind: Pod\napiVersion: v1", "no Device"},
      {replaced(good, "type: INT", "type: NUMBER"), "document 1, DeviceModel boiler-model: property temperature"},
      {replaced(good, "minimum: \"5\"", "minimum: \"99\""), "the least is above the most"},
      {replaced(good, "name: temperature, d", "name: \"tempe rature\", d"), "rename it"},
      {replaced(good, "v1beta1\nkind: Device\n", "v1\nkind: Device\n"), "apiVersion devices.kubeedge.io/v1: "},
      {replaced(good, "value: \"30\"", "value: warm"),
       "document 2, Device boiler: property temperature: desired warm: the value is not int: correct it"},
      {replaced(good, "value: \"30\"", "value: \"96\""), "above the most"},
      {replaced(good, "  name: boiler\n", "  name: the boiler\n"), "rename it"},
      {replaced(good, "  name: boiler\n", "  nome: boiler\n"), "metadata.name is missing"},
      {good + "---\n" + good, "is there twice: keep one"},
  };
  for (const auto& [yaml, text] : rows) {
    const auto error = error_of(yaml);
    EXPECT_NE(error.find(text), std::string::npos) << text << "\n" << error;
  }
}

TEST(KubeEdgeImport, HostileTextsEndAtALimit) {
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const auto before = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 8; ++j) laughs += ", " + before;
    laughs += "]\n";
  }
  EXPECT_NE(error_of(laughs).find("values"), std::string::npos);
  EXPECT_NE(error_of("a: &a [*a]").find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of("a: " + std::string(200, '[') + std::string(200, ']')).find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of("a: " + std::string(100'000, '[')), "");
  EXPECT_NE(error_of("a: " + std::string((4 << 20) + 1, 'x')).find("bytes"), std::string::npos);
  EXPECT_NE(error_of("? [1, 2]\n: 3\n").find("a key is no text"), std::string::npos);
}

}  // namespace
}  // namespace landfall
