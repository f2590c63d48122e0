// Property: what KubeEdge's YAML says of devices comes out as the file that mappers up to 1.14 read, with every member that
// their parsers ask for and of the type that they ask for; what they shall be is what is effective now; and whatever
// stands in a configuration, the file stays one that a mapper reads whole.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "devicetwin/kubeedge_profile.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

using Json = nlohmann::json;
using test::StateNode;

// ---- what mappers do with the file, as mappers-go's readers do: a member of another type, or a name that leads nowhere,
// and the mapper does not start. Names are compared without regard to case.

const Json* member(const Json& of, std::string name) {
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  for (const auto& [key, value] : of.items()) {
    if (lower(key) == lower(name)) return &value;
  }
  return nullptr;
}

class Mapper {
 public:
  explicit Mapper(const std::string& text) {
    const Json file = Json::parse(text, nullptr, false);
    if (!file.is_object()) {
      fail("no JSON object");
      return;
    }
    for (const auto& p : list(file, "protocols")) {
      for (const char* name : {"name", "protocol"}) string(p, name);
      const auto* config = member(p, "protocolConfig");
      // mapper-sdk-go asks for this name of every protocol, its own or not.
      if (config == nullptr || !config->is_object() || !config->contains("protocolName") ||
          !(*config)["protocolName"].is_string())
        fail("protocolConfig without protocolName");
      if (const auto* common = member(p, "protocolCommonConfig"); common == nullptr || !common->is_object())
        fail("no protocolCommonConfig");
      protocols.push_back(p);
    }
    for (const auto& m : list(file, "deviceModels")) {
      string(m, "name");
      for (const auto& p : list(m, "properties")) {
        for (const char* name : {"name", "dataType", "description", "accessMode", "unit"}) string(p, name);
        for (const char* name : {"minimum", "maximum"}) whole(p, name);
      }
      models.push_back(m);
    }
    for (const auto& instance : list(file, "deviceInstances")) take(instance);
  }
  std::string fault;
  std::vector<Json> protocols, models, devices;

  const Json& device(const std::string& id) const { return named(devices, "id", id); }
  const Json& protocol_of(const std::string& id) const {
    return named(protocols, "name", device(id)["protocol"].get<std::string>());
  }
  const Json& twin(const std::string& id, const std::string& property) const {
    return named(device(id)["twins"], "propertyName", property);
  }
  const Json& visitor(const std::string& id, const std::string& property) const {
    return named(device(id)["propertyVisitors"], "propertyName", property);
  }
  const Json& property(const std::string& id, const std::string& name) const {
    const auto& model = named(models, "name", visitor(id, name)["modelName"].get<std::string>());
    return named(model["properties"], "name", name);
  }
  // The value that it writes into the device at its start.
  std::string set_at_start(const std::string& id, const std::string& property) const {
    return twin(id, property)["desired"]["value"];
  }

 private:
  void fail(const std::string& what) {
    if (fault.empty()) fault = what;
  }
  void string(const Json& of, const char* name) {
    if (const auto* value = member(of, name); value != nullptr && !value->is_string())
      fail(name + (" is no string: " + value->dump()));
  }
  void whole(const Json& of, const char* name) {
    if (const auto* value = member(of, name); value != nullptr && !value->is_number_integer())
      fail(name + (" is no int64: " + value->dump()));
  }
  Json list(const Json& of, const char* name) {
    const auto* value = member(of, name);
    if (value != nullptr && value->is_array()) return *value;
    if (value != nullptr) fail(name + std::string(" is no list"));
    return Json::array();
  }
  template <class List>
  static const Json& named(const List& list, const char* key, const std::string& name) {
    static const Json none;
    for (const auto& one : list) {
      if (one[key] == name) return one;
    }
    ADD_FAILURE() << "nothing with " << key << " " << name;
    return none;
  }
  template <class List>
  static bool has(const List& list, const char* key, const Json& name) {
    return std::ranges::any_of(list, [&](const Json& one) { return one.contains(key) && one[key] == name; });
  }
  void take(const Json& instance) {
    for (const char* name : {"id", "name", "protocol", "model"}) string(instance, name);
    if (!has(protocols, "name", instance["protocol"])) fail("protocol not found");
    const Json visitors = list(instance, "propertyVisitors");
    for (const auto& visitor : visitors) {
      for (const char* name : {"name", "propertyName", "modelName", "protocol"}) string(visitor, name);
      for (const char* name : {"collectCycle", "reportCycle"}) whole(visitor, name);
      if (member(visitor, "visitorConfig") == nullptr) fail("no visitorConfig");
      const auto model = std::ranges::find_if(models, [&](const Json& m) { return m["name"] == visitor["modelName"]; });
      if (model == models.end()) return fail("device model not found");
      if (!has((*model)["properties"], "name", visitor["propertyName"])) fail("property not found");
    }
    for (const auto& twin : list(instance, "twins")) {
      if (!has(visitors, "propertyName", twin["propertyName"])) fail("twin without a visitor");
      for (const char* side : {"desired", "reported"}) {
        const auto* value = member(twin, side);
        if (value == nullptr) continue;
        string(*value, "value");
        if (const auto* about = member(*value, "metadata")) {
          string(*about, "type");
          string(*about, "timestamp");
        }
      }
    }
    const auto* data = member(instance, "data");
    if (data != nullptr) {
      for (const auto& property : list(*data, "dataProperties")) {
        if (!has(visitors, "propertyName", property["propertyName"])) fail("data without a visitor");
        if (const auto* about = member(property, "metadata")) whole(*about, "timestamp");
      }
      string(*data, "datatopic");
    }
    devices.push_back(instance);
  }
};

// ---- a node, and what was imported there

struct KubeEdgeProfileTest : ::testing::Test {
  sim::Schedule schedule{1};
  StateNode node{schedule, 1};
  std::optional<Twins> twins;
  std::optional<Devices> devices;
  void SetUp() override {
    twins.emplace(*node.objects, Layer::edge);
    devices.emplace(*node.objects);
  }
  void TearDown() override {
    twins.reset();
    devices.reset();
  }

  template <class Start>
  void good(Start start) {
    const auto result = node.wait(start);
    ASSERT_TRUE(result.ok()) << result.error().detail;
  }
  void put(const DeviceRecord& record, const std::map<std::string, PropertyDefinition>& properties = {}) {
    good([&](auto done) { devices->put(record, properties, "test", {}, done); });
  }
  void set(const std::string& device, std::map<std::string, std::optional<std::string>> values) {
    good(
        [&](auto done) { twins->set_desired({.device = device, .values = std::move(values), .actor = "test"}, done); });
  }
  void import(const std::string& yaml) {
    const auto imported = import_kubeedge(yaml);
    ASSERT_TRUE(imported.ok()) << imported.error().detail;
    for (const auto& device : *imported) {
      put(device.record, device.properties);
      std::map<std::string, std::optional<std::string>> values(device.desired.begin(), device.desired.end());
      if (!values.empty()) set(device.record.device, values);
    }
  }
  KubeEdgeProfile profile() {
    auto made = export_kubeedge(*devices, *twins, [](const DeviceRecord&) { return true; });
    EXPECT_TRUE(made.ok()) << made.error().detail;
    return made ? std::move(*made) : KubeEdgeProfile();
  }
  Mapper read() {
    Mapper mapper(profile().json());
    EXPECT_EQ(mapper.fault, "") << profile().json();
    return mapper;
  }
};

constexpr const char* model_and_valve = R"(
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: valve-model}
spec:
  protocol: modbus
  properties:
  - {name: opening, description: how far, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "100", unit: percent}
  - {name: pressure, type: FLOAT, accessMode: ReadOnly, minimum: "0.5", maximum: "10"}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: valve}
spec:
  deviceModelRef: {name: valve-model}
  nodeName: ship
  protocol:
    protocolName: modbus
    configData: {slaveID: "1", ip: 10.0.0.7, port: 502}
  properties:
  - name: opening
    desired: {value: "40"}
    collectCycle: 500
    reportCycle: 10000000000
    visitors: {protocolName: modbus, configData: {register: HoldingRegister, offset: 2, limit: 1, scale: 1}}
  - name: pressure
    visitors: {protocolName: modbus, configData: {register: InputRegister, offset: 3, limit: 1}}
)";

TEST_F(KubeEdgeProfileTest, IsWhatAModbusMapperReads) {
  import(model_and_valve);
  const auto mapper = read();
  ASSERT_EQ(mapper.devices.size(), 1u);
  const auto& valve = mapper.device("valve");
  EXPECT_EQ(valve["name"], "valve");
  EXPECT_EQ(valve["model"], "valve-model");
  EXPECT_EQ(valve["protocol"], "modbus-valve");
  EXPECT_EQ(mapper.protocol_of("valve")["protocol"], "modbus");
  EXPECT_EQ(mapper.protocol_of("valve")["protocolConfig"]["slaveID"], 1) << "an int16 there";
  EXPECT_EQ(mapper.protocol_of("valve")["protocolCommonConfig"]["tcp"], Json::parse(R"({"ip":"10.0.0.7","port":502})"));

  const auto& opening = mapper.visitor("valve", "opening");
  EXPECT_EQ(opening["protocol"], "modbus");
  EXPECT_EQ(opening["collectCycle"], 500'000'000) << "v1beta1 counts in ms, Go in ns";
  EXPECT_EQ(opening["reportCycle"], 10'000'000'000) << "KubeEdge 1.15 counted in ns";
  EXPECT_EQ(mapper.visitor("valve", "pressure")["collectCycle"], 0);
  EXPECT_EQ(opening["visitorConfig"]["register"], "HoldingRegister");
  EXPECT_EQ(opening["visitorConfig"]["offset"], 2);
  EXPECT_EQ(opening["visitorConfig"]["configData"]["offset"], 2) << "where the SDK's mappers look";

  EXPECT_EQ(mapper.property("valve", "opening"),
            Json::parse(R"({"name":"opening","dataType":"int","accessMode":"ReadWrite","description":"how far",
                            "unit":"percent","minimum":0,"maximum":100})"));
  EXPECT_EQ(mapper.property("valve", "pressure"),
            Json::parse(R"({"name":"pressure","dataType":"float","accessMode":"ReadOnly","maximum":10})"))
      << "a fraction would spoil the file";
  EXPECT_EQ(mapper.twin("valve", "opening")["desired"]["metadata"]["type"], "int");
  EXPECT_EQ(mapper.set_at_start("valve", "opening"), "40");
  EXPECT_EQ(mapper.set_at_start("valve", "pressure"), "");
}

// A mapper writes what the file says into the device whenever it starts: an old value would turn the valve back.
TEST_F(KubeEdgeProfileTest, HoldsWhatIsEffectiveNow) {
  import(model_and_valve);
  set("valve", {{"opening", "55"}});
  EXPECT_EQ(read().set_at_start("valve", "opening"), "55");
  EXPECT_NE(read().twin("valve", "opening")["desired"]["metadata"]["timestamp"], "");

  // An override aboard that the office does not know yet, and the office's own later: the policy says which is in the file.
  StateNode hub{schedule, 2};
  test::exchange(node, hub);
  {
    Twins office(*hub.objects, Layer::cloud);
    const auto written = hub.wait([&](auto done) {
      office.set_desired({.device = "valve", .values = {{"opening", "70"}}, .actor = "office"}, done);
    });
    ASSERT_TRUE(written.ok());
  }
  set("valve", {{"opening", "60"}});
  EXPECT_EQ(read().set_at_start("valve", "opening"), "60");
  test::exchange(node, hub);
  const auto view = twins->view("valve");
  ASSERT_TRUE(view && view->properties.at("opening").desired);
  EXPECT_EQ(view->properties.at("opening").desired->value, "70") << "cloud-wins";
  EXPECT_EQ(read().set_at_start("valve", "opening"), "70");
}

TEST_F(KubeEdgeProfileTest, HoldsNothingWhereThePolicyHolds) {
  import(model_and_valve);
  PropertyDefinition manual = twins->view("valve")->properties.at("opening").definition;
  manual.policy = Policy::manual;
  good([&](auto done) {
    twins->describe({.device = "valve", .define = {{"opening", manual}}, .actor = "test"}, done);
  });
  StateNode hub{schedule, 2};
  test::exchange(node, hub);
  {
    Twins office(*hub.objects, Layer::cloud);
    const auto written = hub.wait([&](auto done) {
      office.set_desired({.device = "valve", .values = {{"opening", "70"}}, .actor = "office"}, done);
    });
    ASSERT_TRUE(written.ok());
  }
  set("valve", {{"opening", "60"}});
  test::exchange(node, hub);
  EXPECT_EQ(read().set_at_start("valve", "opening"), "") << "an int of no text is not written into a device";
}

// The same as KubeEdge's own controller made of it.
TEST_F(KubeEdgeProfileTest, OfV1alpha2IsWhatKubeEdgeMade) {
  import(R"(
apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata: {name: sensor-model}
spec:
  properties:
  - {name: temperature, description: in the hold, type: {int: {accessMode: ReadWrite, defaultValue: 3, minimum: 1, maximum: 5, unit: C}}}
  - {name: humidity, type: {string: {accessMode: ReadOnly, defaultValue: dry}}}
---
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: {name: sensor}
spec:
  deviceModelRef: {name: sensor-model}
  nodeSelector: {nodeSelectorTerms: [{matchExpressions: [{key: '', operator: In, values: [ship]}]}]}
  protocol:
    modbus: {slaveID: 1}
    common:
      com: {serialPort: /dev/ttyS0, baudRate: 9600, dataBits: 8, parity: even, stopBits: 1}
      customizedValues: {serialType: RS485}
  propertyVisitors:
  - propertyName: temperature
    modbus: {register: CoilRegister, offset: 2, limit: 1, scale: 1, isSwap: true, isRegisterSwap: true}
    collectCycle: 500000000
    reportCycle: 1000000000
    customizedValues: {a: 1}
  - propertyName: humidity
    modbus: {register: CoilRegister, offset: 3, limit: 1}
  data:
    dataTopic: "$ke/events/device/+/customized/update"
    dataProperties: [{propertyName: humidity, metadata: {type: string, timestamp: "1550049403598"}}]
status:
  twins: [{propertyName: temperature, desired: {value: "4", metadata: {type: int}}}]
)");
  const auto mapper = read();
  EXPECT_EQ(mapper.protocol_of("sensor"), Json::parse(R"({"name":"modbus-sensor","protocol":"modbus",
      "protocolConfig":{"slaveID":1,"protocolName":"modbus"},
      "protocolCommonConfig":{"com":{"serialPort":"/dev/ttyS0","baudRate":9600,"dataBits":8,"parity":"even","stopBits":1},
                              "customizedValues":{"serialType":"RS485"}}})"));
  EXPECT_EQ(mapper.visitor("sensor", "temperature"), Json::parse(R"({"name":"temperature","propertyName":"temperature",
      "modelName":"sensor-model","protocol":"modbus","collectCycle":500000000,"reportCycle":1000000000,
      "customizedValues":{"a":1},
      "visitorConfig":{"register":"CoilRegister","offset":2,"limit":1,"scale":1,"isSwap":true,"isRegisterSwap":true}})"));
  EXPECT_EQ(mapper.property("sensor", "temperature")["defaultValue"], 3);
  EXPECT_EQ(mapper.property("sensor", "humidity")["defaultValue"], "dry");
  EXPECT_EQ(mapper.set_at_start("sensor", "temperature"), "4");
  EXPECT_EQ(mapper.device("sensor")["twins"].size(), 1u) << "humidity is a series, no twin";
  EXPECT_EQ(mapper.device("sensor")["data"], Json::parse(R"({"dataTopic":"$ke/events/device/+/customized/update",
      "dataProperties":[{"propertyName":"humidity","metadata":{"type":"string"}}]})"));
}

TEST_F(KubeEdgeProfileTest, CustomizedProtocolsAreWhatTheirMappersRead) {
  import(R"(
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: {name: old-camera}
spec:
  deviceModelRef: {name: camera}
  protocol: {customizedProtocol: {protocolName: onvif, configData: {url: "10.0.0.9:80", userName: admin}}}
  propertyVisitors:
  - {propertyName: saveFrame, customizedProtocol: {protocolName: onvif, configData: {format: jpg}}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: camera-model}
spec:
  protocolConfigData: {url: "0.0.0.0", timeout: 5}
  properties:
  - {name: saveFrame, type: BOOLEAN, accessMode: ReadWrite, visitors: {protocolName: onvif, configData: {format: png}}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: camera, namespace: default}
spec:
  deviceModelRef: {name: camera-model}
  protocol: {protocolName: onvif, configData: {url: "10.0.0.9:80"}}
  properties: [{name: saveFrame}]
)");
  const auto mapper = read();
  EXPECT_EQ(mapper.protocol_of("old-camera")["protocolConfig"],
            Json::parse(R"({"protocolName":"onvif","configData":{"url":"10.0.0.9:80","userName":"admin"}})"));
  EXPECT_EQ(mapper.visitor("old-camera", "saveFrame")["visitorConfig"],
            Json::parse(R"({"protocolName":"onvif","configData":{"format":"jpg"}})"));
  EXPECT_EQ(mapper.protocol_of("camera")["protocol"], "customized-protocol");
  EXPECT_EQ(mapper.protocol_of("camera")["protocolConfig"],
            Json::parse(R"({"protocolName":"onvif","configData":{"url":"10.0.0.9:80","timeout":5}})"))
      << "the device's own over the model's";
  EXPECT_EQ(mapper.visitor("camera", "saveFrame")["visitorConfig"]["configData"]["format"], "png") << "the model's";
}

TEST_F(KubeEdgeProfileTest, EqualNamesAndUnequalModelsStayApart) {
  import(model_and_valve);
  std::string other = model_and_valve;
  for (const std::string what : {"{name: valve-model}\n", "{name: valve}\n"})
    other.replace(other.find(what), what.size(), "{namespace: plant, name:" + what.substr(6));
  other.replace(other.find("maximum: \"100\""), 14, "maximum: \"90\"");
  import(other);
  auto third = *devices->get("valve");
  third.device = "valve3";
  put(third, {{"opening", twins->view("valve")->properties.at("opening").definition}});

  const auto mapper = read();
  ASSERT_EQ(mapper.devices.size(), 3u);
  EXPECT_EQ(mapper.property("valve3", "opening")["maximum"], 100);
  EXPECT_NE(mapper.device("valve")["protocol"], mapper.device("plant/valve")["protocol"]);
  EXPECT_NE(mapper.property("valve", "opening")["maximum"], mapper.property("plant/valve", "opening")["maximum"]);
  EXPECT_EQ(mapper.device("plant/valve")["name"], "valve");
  EXPECT_EQ(mapper.models.size(), 2u) << "two of them share one";
}

// Whatever an operator wrote: one device must not take the file from all others.
TEST_F(KubeEdgeProfileTest, NothingInAConfigurationSpoilsTheFile) {
  import(model_and_valve);
  const auto definition = twins->view("valve")->properties.at("opening").definition;
  const std::vector<std::string> bad = {
      "1",
      "[]",
      R"("text")",
      "{}",
      R"({"protocol":1,"properties":2})",
      R"({"properties":[1,null,"opening",{}]})",
      R"({"properties":[{"name":"opening","visitors":7,"collectCycle":"1 s","reportCycle":1.5}]})",
      R"({"properties":[{"name":"opening","visitors":{"protocolName":3,"configData":[]},"collectCycle":1e300}]})",
      R"({"properties":[{"name":"gone","visitors":{}}]})",
      R"({"protocol":{"modbus":[]},"propertyVisitors":[{"propertyName":"opening","modbus":1},{},4]})",
      R"({"propertyVisitors":{"a":1},"data":{"dataProperties":[1,{"propertyName":"none"},{"propertyName":"opening","metadata":9}],"dataTopic":4}})",
      R"({"twins":[1,{}],"model":{"properties":[3,{"name":4,"defaultValue":{"a":[1]}}]},"protocol":{"customizedProtocol":2}})",
      R"({"protocol":{"configData":{"ip":1,"port":"x","protocolName":5,"configData":6,"serialPort":{}}}})"};
  std::size_t n = 0;
  for (const auto& configuration : bad) {
    DeviceRecord record;
    record.device = "bad" + std::to_string(n++);
    record.protocol = n % 2 == 0 ? "modbus" : "something";
    record.configuration = configuration;
    put(record, {{"opening", definition}});
  }
  const auto mapper = read();
  EXPECT_EQ(mapper.devices.size(), 1 + bad.size() - 3) << "all but those that are no object";
  EXPECT_EQ(mapper.set_at_start("valve", "opening"), "40");
}

TEST_F(KubeEdgeProfileTest, SaysWhatMappersDoNotGet) {
  import(model_and_valve);
  DeviceRecord counter;
  counter.device = "counter";
  put(counter, {{"status", {}}});
  DeviceRecord pump;
  pump.device = "pump";
  pump.protocol = "modbus";
  put(pump);
  PropertyDefinition note;
  auto valve = *devices->get("valve");
  auto configuration = Json::parse(valve.configuration);
  for (const char* name : {"note", "nobody"})
    configuration["properties"].push_back({{"name", name}, {"visitors", Json::object()}});
  valve.configuration = configuration.dump();
  put(valve, {{"note", note}, {"seen", note}});

  const auto made = profile();
  const auto warned = [&](const std::string& text) {
    return std::ranges::any_of(made.warnings(), [&](const auto& w) { return w.find(text) != std::string::npos; });
  };
  EXPECT_TRUE(warned("device pump has no configuration: import it"));
  EXPECT_TRUE(warned("valve: property seen has no visitor"));
  EXPECT_TRUE(warned("valve: property nobody is not defined"));
  EXPECT_TRUE(warned("valve: property note has no desired value")) << "0 in a register, to the modbus mapper";
  EXPECT_EQ(made.warnings().size(), 4u) << ::testing::PrintToString(made.warnings());

  // Named, it is an error.
  const auto named = [&](const std::string& name) {
    const auto one = export_kubeedge(*devices, *twins, std::vector<std::string>{name});
    return one ? Code::conflict : one.error().code;
  };
  EXPECT_EQ(named("pump"), Code::out_of_range);
  EXPECT_EQ(named("counter"), Code::out_of_range);
  EXPECT_EQ(named("none"), Code::not_found);
  const auto twice = export_kubeedge(*devices, *twins, std::vector<std::string>{"valve", "default/valve"});
  ASSERT_TRUE(twice.ok()) << twice.error().detail;
  EXPECT_EQ(Mapper(twice->json()).devices.size(), 1u);
}

TEST_F(KubeEdgeProfileTest, OfNoDeviceIsAFileToo) {
  EXPECT_EQ(profile().json(), R"({"deviceInstances":[],"deviceModels":[],"protocols":[]})");
  EXPECT_EQ(Mapper(profile().json()).fault, "");
}

// The reader above can say no: else it proves nothing.
TEST(KubeEdgeProfileReader, RefusesWhatMappersRefuse) {
  const std::string whole =
      R"({"deviceInstances":[{"id":"a","protocol":"modbus-a","model":"m","twins":[{"propertyName":"p","desired":{"value":"1"}}],
      "propertyVisitors":[{"propertyName":"p","modelName":"m","collectCycle":1,"visitorConfig":{}}]}],
      "deviceModels":[{"name":"m","properties":[{"name":"p","minimum":1}]}],
      "protocols":[{"name":"modbus-a","protocol":"modbus","protocolConfig":{"protocolName":"modbus"},"protocolCommonConfig":{}}]})";
  EXPECT_EQ(Mapper(whole).fault, "");
  const std::vector<std::pair<std::string, std::string>> faults = {
      {R"("name":"modbus-a")", R"("name":"modbus-b")"},
      {R"("protocolName":"modbus")", R"("a":1)"},
      {R"("name":"p","minimum":1)", R"("name":"q")"},
      {R"("minimum":1)", R"("minimum":1.5)"},
      {R"("collectCycle":1)", R"("collectCycle":"1s")"},
      {R"("modelName":"m")", R"("modelName":"n")"},
      {R"([{"propertyName":"p","desired")", R"([{"propertyName":"q","desired")"},
      {R"("value":"1")", R"("value":1)"},
      {R"(,"protocolCommonConfig":{})", ""}};
  for (const auto& [from, to] : faults) {
    std::string broken = whole;
    ASSERT_NE(broken.find(from), std::string::npos) << from;
    EXPECT_NE(Mapper(broken.replace(broken.find(from), from.size(), to)).fault, "") << to;
  }
}

}  // namespace
}  // namespace landfall
