// The configuration file: what it says, and what is said of its mistakes.
#include "config/config.hpp"

#include <gmock/gmock.h>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "places.hpp"
#include "process.hpp"
#include "refusal.hpp"

namespace tidemill::config {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string mistakes_of(const std::string& text) {
  return tests::refusal([&] { (void)parse(text, "t.yaml"); });
}

TEST(ConfigTest, NothingIsTheDefaults) {
  for (const char* const text : {"", "# nothing\n", "---\n"}) {
    const Config config = parse(text, "t.yaml");
    EXPECT_EQ(config.store, "sqlite:tidemill.db");
    EXPECT_EQ(config.listen, "127.0.0.1:8470");
    EXPECT_THAT(config.roles, ElementsAre("api", "worker", "scheduler"));
    EXPECT_THAT(config.deliveries, IsEmpty());
    EXPECT_FALSE(config.schedules);
  }
}

TEST(ConfigTest, AddressesOfBothFamiliesCanBeListenedOn) {
  for (const char* const here : {"127.0.0.1:1", "127.1.2.3:1", "localhost:1", "[::1]:1"})
    EXPECT_TRUE(parse_place(here).loopback) << here;
  for (const char* const anywhere : {"0.0.0.0:1", "[::]:1", "192.168.7.20:1", "[fe80::1%eth0]:1"})
    EXPECT_FALSE(parse_place(anywhere).loopback) << anywhere;
}

/// docs/tidemill.yaml.
Config documented() {
  ::setenv("OPS_TOKEN", "0123456789abcdef", 1);
  return load(testing::in_sources("docs/tidemill.yaml"));
}

TEST(ConfigTest, TheDocumentedFileReads) {
  const Config config = documented();
  ASSERT_EQ(config.tokens.size(), 2U);
  EXPECT_EQ(config.tokens[0].role, Role::producer);
  EXPECT_THAT(config.tokens[0].queues, ElementsAre("mail", "image:*"));
  EXPECT_EQ(config.tokens[0].requests_per_minute, 6000);
  EXPECT_EQ(config.tokens[1].requests_per_minute, 0);
  EXPECT_EQ(config.limits.body_bytes, 8U << 20U);
  EXPECT_EQ(config.limits.idle_timeout, 75s);
  ASSERT_EQ(config.queues.size(), 2U);
  EXPECT_EQ(config.queues[1].weight, 6);
  ASSERT_EQ(config.deliveries.size(), 3U);
  EXPECT_EQ(config.deliveries[0].http->url, "http://127.0.0.1:9000/hooks/{{kind}}");
  EXPECT_EQ(config.deliveries[0].http->secrets.size(), 1U);
  EXPECT_EQ(config.deliveries[1].command->argv.front(), "convert");
  EXPECT_EQ(config.deliveries[2].command->shell, "./build-report");
  EXPECT_EQ(config.deliveries[2].command->memory_bytes_max, 1U << 30U);
  ASSERT_TRUE(config.schedules);
  EXPECT_EQ(config.schedules->front().zone, "Europe/Berlin");
  EXPECT_EQ(config.schedules->front().payload, R"({"days":1})");
  EXPECT_EQ(config.schedules->front().options.retention, 7 * 24h);
  EXPECT_EQ(config.log.file->keep, 7U);
  EXPECT_TRUE(config.log.file->gzip);
}

TEST(ConfigTest, WhatIsDocumentedAsDefaultIsIt) {
  const Config said = documented();
  const Config usual;
  EXPECT_EQ(said.store, usual.store);
  EXPECT_EQ(said.listen, usual.listen);
  EXPECT_EQ(said.roles, usual.roles);
  EXPECT_EQ(said.limits.header_bytes, usual.limits.header_bytes);
  EXPECT_EQ(said.limits.connections, usual.limits.connections);
  EXPECT_EQ(said.limits.tasks_per_request, usual.limits.tasks_per_request);
  EXPECT_EQ(said.limits.headers_timeout, usual.limits.headers_timeout);
  EXPECT_EQ(said.limits.body_timeout, usual.limits.body_timeout);
  EXPECT_EQ(said.concurrency, usual.concurrency);
  EXPECT_EQ(said.commands, usual.commands);
  EXPECT_EQ(said.shutdown_timeout, usual.shutdown_timeout);
  EXPECT_EQ(said.outgoing.in_flight_max, usual.outgoing.in_flight_max);
  EXPECT_EQ(said.outgoing.per_host_max, usual.outgoing.per_host_max);
  EXPECT_EQ(said.outgoing.connect_timeout, usual.outgoing.connect_timeout);
  const deliver::HttpDelivery http;
  EXPECT_EQ(said.deliveries[0].http->timeout, http.timeout);
  EXPECT_EQ(said.deliveries[0].http->response_bytes_max, http.response_bytes_max);
}

TEST(ConfigTest, QueuesOfPersistentQueueAreReadAndTheirMistakesNamed) {
  const Config config = parse(R"(
gateways:
  persistent_queue:
    - service: mails
      job_type: 7
      database: mysql://app:secret@db/shop
      max_retries: 3
      first_pull_days: unlimited
      claim: mark
      http: https://example.org/hook
)",
                              "t.yaml");
  ASSERT_EQ(config.persistent_queues.size(), 1U);
  const PersistentQueue& queue = config.persistent_queues.front();
  EXPECT_EQ(queue.table.service_name, "mails");
  EXPECT_EQ(queue.table.job_type, 7);
  EXPECT_EQ(queue.table.retries_max, 3);
  EXPECT_TRUE(queue.table.first_pull_days.is_unlimited());
  EXPECT_EQ(queue.table.claim_mode, persistent_queue::ClaimMode::mark);
  EXPECT_EQ(queue.delivery.http->url, "https://example.org/hook");

  const auto refusal = [](const std::string& more) {
    return mistakes_of("gateways:\n  persistent_queue:\n    - {service: a, job_type: 1, " + more + "}\n");
  };
  const std::string db = "database: 'mysql://a@h/d'";
  EXPECT_THAT(refusal("command: cat"), HasSubstr("has no database"));
  EXPECT_THAT(refusal(db), HasSubstr("needs one of http and command"));
  EXPECT_THAT(refusal("command: cat, database: 'http://h'"), HasSubstr("t.yaml:3:"));
  EXPECT_THAT(refusal(db + ", command: cat, claim: both"), HasSubstr("none or mark"));
  EXPECT_THAT(refusal(db + ", command: cat, lease: 3s"), HasSubstr("too short for renewals"));
  EXPECT_THAT(refusal(db + ", command: cat}\n    - {service: b, job_type: 1, command: cat, " + db),
              HasSubstr("every job would run twice"));
}

TEST(ConfigTest, APayloadBecomesJson) {
  const Config config = parse(R"(
schedules:
  - id: a
    spec: "@daily"
    task:
      kind: x
      payload: {n: 1.50, big: 90071992547409931, s: "1", t: true, no: null, w: yes, l: [a, -2e5, 007]}
)",
                              "t.yaml");
  EXPECT_EQ(
      config.schedules->front().payload,
      R"({"n":1.50,"big":90071992547409931,"s":"1","t":true,"no":null,"w":"yes","l":["a",-2e5,"007"]})");
}

TEST(ConfigTest, EachMistakeIsSaidWithItsPlace) {
  struct Case {
    const char* text;
    const char* said;
  };
  const Case cases[] = {
      {"store: [a]", "t.yaml:1:8: must be a text"},
      {"listn: x", R"(t.yaml:1:8: there is no setting "listn" here; did you mean "listen"?)"},
      {"- a", "t.yaml:1:1: must be a map of settings"},
      {"store: a\nstore: b", R"(t.yaml:2:1: "store" is there twice)"},
      {"a: [", "this is no YAML"},
      {"\tstore: a", "t.yaml:1:"},
      {"base: &b {x: 1}\n<<: *b", "merge keys"},
      {"roles: [api, wrker]", R"(there is no role "wrker"; it must be api, worker or scheduler)"},
      {"roles: []", "names no role"},
      {"strict: yes\n---\nstrict: true", "t.yaml:2:1: there is a second document"},
      {"store: !include x", "tags are not read here"},
      {"listen: 8470", "is no HOST:PORT"},
      {"listen: example.com:80",
       R"(t.yaml:1:9: listen: "example.com" is no address; write for instance 127.0.0.1)"},
      {"listen: 127.example.com:80", "is no address"},
      {"outgoing: {allow_networks: [10.0.0.0/99]}", "t.yaml:1:28: "},
      {"strict: yes", "t.yaml:1:9: must be true or false"},
      {"concurrency: 0", "t.yaml:1:14: "},
      {"concurrency: many", "t.yaml:1:14: "},
      {"limits: {body: 1}", "t.yaml:1:16: must be from 1024 to"},
      {"limits: {body: 8 parsecs}", R"("8 parsecs" is no size)"},
      {"limits: {idle_timeout: 5}", R"("5" is no duration)"},
      {"limits: {idle_timeout: 1ms}", "must be from 1s to 1h"},
      {"queues: {mail: 0}", "t.yaml:1:16: "},
      {"queues: [a, a]", R"(queue "a" is there twice)"},
      {"open_routes: [tasks]", R"("tasks" is no route; write for instance POST /api/v1/tasks)"},
      {"tokens: [{role: admin, secret: 0123456789abcdef}]", "this token has no name"},
      {"tokens: [{name: a, role: boss, secret: 0123456789abcdef}]", R"(there is no role "boss")"},
      {"tokens: [{name: a, secret: 0123456789abcdef}]", "this token has no role"},
      {"tokens: [{name: a, role: admin, secret: 0123456789abcdef}, {name: b, role: admin, secret: "
       "0123456789abcdef}]",
       R"(it has the secret of token "a")"},
      {"tokens: [{name: a, role: admin}]", "this token has no secret"},
      {"tokens: [{name: a, secret: short}]", "the secret has 5 characters; 16 are the least"},
      {"tokens: [{name: a, role: admin, secret: 0123456789abcdef, requests_per_minute: 0}]", "from 1 to"},
      {"tokens: [{name: a, role: admin, secret: 0123456789abcdef, requests_per_minute: many}]", "many"},
      {"tokens: [{name: a, secret_sha256: abc}]", "must be 64 hexadecimal digits"},
      {"tokens: [{name: a, secret_env: NO_SUCH_VARIABLE_HERE}]", "no variable NO_SUCH_VARIABLE_HERE"},
      {"tokens: [{name: a, secret_file: /nowhere/x}]", "/nowhere/x can't be read"},
      {"deliveries: [{kinds: [a]}]", "needs one of http and command"},
      {"deliveries: [{http: http://x.example/}]", "has no kinds"},
      {"deliveries: [{kinds: ['a*b'], http: http://x.example/}]", R"("a*b" is no kind)"},
      {"deliveries:\n- {kinds: a, http: http://x.example/}\n- {kinds: a, command: b}",
       R"(t.yaml:3:3: "a" is delivered at t.yaml:2 already)"},
      {"deliveries: [{kinds: a, http: ftp://x.example/}]", R"(its scheme is "ftp")"},
      {"deliveries: [{kinds: a, http: {method: POST}}]", "has no url"},
      {"deliveries: [{kinds: a, http: {url: 'http://x.example/{{nope}}'}}]", "nope"},
      {"deliveries: [{kinds: a, http: {url: http://x.example/, secrets: [abc]}}]", "secret"},
      {"deliveries: [{kinds: a, command: {argv: [x], shell: y}}]", "needs one of argv and shell"},
      {"deliveries: [{kinds: a, command: x, retry: []}]", "needs at least one delay"},
      {"deliveries: [{kinds: a, command: x, retry: {factor: 0}}]", "must be a number from 1 to 100"},
      {"schedules: [{spec: '@daily', task: {kind: x}}]", "this schedule has no id"},
      {"schedules: [{id: a, task: {kind: x}}]", "this schedule has no spec"},
      {"schedules: [{id: a, spec: '61 * * * *', task: {kind: x}}]", "there is no minute 61"},
      {"schedules: [{id: a, spec: '@daily', zone: Mars/Base, task: {kind: x}}]", "Mars/Base"},
      {"schedules: [{id: a, spec: '@daily', task: {queue: x}}]", "its task has no kind"},
      {"schedules: [{id: a, spec: '@daily', task: {kind: x, retries_max: 50000}}]", "50000"},
      {"schedules: {file: nowhere.yaml}", "nowhere.yaml can't be read"},
      {"log: {level: loud}", R"(there is no level "loud")"},
      {"log: {format: xml}", "must be text or json"},
      {"log: {file: {size: 1MiB}}", "a log file needs a path"},
  };
  for (const Case& each : cases) EXPECT_THAT(mistakes_of(each.text), HasSubstr(each.said)) << each.text;
}

TEST(ConfigTest, AllMistakesAreSaidAtOnce) {
  const std::string said = mistakes_of("stor: x\nstrict: maybe\nqueues: {a: 0}\n");
  EXPECT_THAT(said, HasSubstr("t.yaml:1:"));
  EXPECT_THAT(said, HasSubstr("t.yaml:2:"));
  EXPECT_THAT(said, HasSubstr("t.yaml:3:"));
}

TEST(ConfigTest, AllMistakesOfADeliveryAreSaid) {
  const std::string said = mistakes_of(R"(
deliveries:
  - kinds: a
    http:
      url: ftp://x.example/
      method: "{{nope}}"
      headers: {"a b": x, Connection: close, X-A: "{{what}}"}
      body: "{{body}}"
      secrets: [abc, "whsec_!"]
      timeout: 0s
)");
  for (const char* const mistake : {R"(its scheme is "ftp")", "method: ", "a b", "headers.Connection",
                                    "headers.X-A", "body: ", "secrets", "t.yaml:10:"})
    EXPECT_THAT(said, HasSubstr(mistake));
}

TEST(ConfigTest, AllMistakesOfAScheduleAreSaid) {
  const std::string said = mistakes_of(R"(
schedules:
  - id: " a"
    spec: "61 * * * *"
    jitter: 1s
    task: {kind: "x ", queue: "", retries_max: 50000, priority: 7}
    overlap: skip
)");
  for (const char* const mistake :
       {R"(schedule's id " a" begins)", "there is no minute 61", R"(kind "x ")", "queue is empty", "50000"})
    EXPECT_THAT(said, HasSubstr(mistake));
}

TEST(ConfigTest, AScheduleThatNeverFiresIsAMistake) {
  EXPECT_THAT(mistakes_of("schedules: [{id: a, spec: '0 0 30 2 *', task: {kind: x}}]"),
              HasSubstr("never fires"));
}

TEST(ConfigTest, AliasesThatNameBillionsAreRefused) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    text += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i, i - 1);
  }
  EXPECT_THAT(mistakes_of(text), HasSubstr("has more than 100000 values"));
  EXPECT_THAT(mistakes_of(std::string(2U << 20U, ' ')), HasSubstr("a configuration has at most"));
}

TEST(ConfigTest, SecretsComeFromFilesBesideIt) {
  const testing::TemporaryDirectory directory;
  testing::write_file(directory / "token", "0123456789abcdef\n");
  testing::write_file(directory / "hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
  testing::write_file(directory / "s.yaml", "- {id: a, spec: '@daily', task: {kind: x}}\n");
  testing::write_file(directory / "c.yaml", R"(
tokens: [{name: a, role: worker, secret_file: token}]
deliveries: [{kinds: a, http: {url: http://x.example/, secrets: [{file: hook}]}}]
schedules: {file: s.yaml}
)");
  const Config config = load((directory / "c.yaml").string());
  EXPECT_EQ(config.tokens[0].secret_sha256,
            "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f");
  EXPECT_EQ(config.deliveries[0].http->secrets[0], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_EQ(config.schedules->size(), 1U);
}

}  // namespace
}  // namespace tidemill::config
