#include "cli/bench.hpp"

#include <algorithm>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/inspector.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/show.hpp"
#include "cli/table.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill bench --store sqlite:/tmp/bench.db
  tidemill bench --store sqlite:/tmp/bench.db --workload drain,pickup --tasks 20000 --json
  tidemill bench --store sqlite:/tmp/bench.db --workload drain --backlog 1000000    # is called drain-deep

Workloads:
  enqueue-one      one thread, one task at a time
  enqueue-threads  --threads threads, each one task at a time
  enqueue-bulk     one thread, 1000 tasks a call; with what a pending task takes in a file
  drain            all tasks, enqueued beforehand, until the last is done and gone
  pickup           1000 tasks at most, one every 10 ms, for an idle worker: from enqueue to handler
  pickup-process   the same, from another process
  due              all tasks due at one instant: seconds from then until all are done, and how late they start
  spread           a fifth of the tasks, due evenly over 10 s: how late they started

The rate is tasks a second. It works in a queue of its own, which must be empty and is empty afterwards; other
queues of the store are left alone, but a store that is in use measures its other work as well.)";

struct Arguments {
  StoreOption store = {};
  bench::Plan plan = {.queue = "tidemill-bench"};
  std::vector<std::string> workloads = {};
  std::size_t rounds = 1;
  bool json = false;
};

void take_workloads(const std::string& text, std::vector<std::string>& out) {
  const auto known = bench::workloads();
  for (std::string_view rest = text; !rest.empty();) {
    const std::string name{rest.substr(0, rest.find(','))};
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    if (std::find(known.begin(), known.end(), name) == known.end())
      wire::refuse_name("workload", name, known);
    out.push_back(name);
  }
}

void refuse_full_queue(Store& store, const bench::Plan& plan) {
  const Page page = Inspector{store}.tasks({.filter = {.queue = plan.queue}, .limit = 1});
  if (page.tasks.empty()) return;
  throw Error{
      ErrorKind::conflict,
      fmt::format("queue \"{0}\" is not empty: another bench runs, or was killed; then `tidemill tasks erase "
                  "--queue {0} --all --yes`, or name another --queue",
                  plan.queue)};
}

std::string measured_json(const bench::Measured& measured, const std::string& url) {
  return json_line([&](json::Writer& writer) {
    const auto percentile = [&](const char* name, double share) {
      writer.member(name, measured.latencies ? std::optional{measured.latencies->at(share)} : std::nullopt);
    };
    writer.member("workload", measured.workload);
    writer.member("store", url);
    writer.member("tasks", measured.tasks);
    writer.member("seconds", measured.seconds);
    writer.member("rate", static_cast<double>(measured.tasks) / measured.seconds);
    percentile("p50_ms", 0.5);
    percentile("p95_ms", 0.95);
    percentile("p99_ms", 0.99);
    percentile("max_ms", 1);
    writer.member("bytes_per_task", measured.bytes_per_task);
  });
}

std::vector<std::string> measured_cells(const bench::Measured& measured) {
  const auto percentile = [&](double share) {
    return measured.latencies ? fmt::format("{:.2f}", measured.latencies->at(share)) : std::string{"-"};
  };
  return {measured.workload,
          std::to_string(measured.tasks),
          fmt::format("{:.3f}", measured.seconds),
          fmt::format("{:.0f}", static_cast<double>(measured.tasks) / measured.seconds),
          percentile(0.5),
          percentile(0.95),
          percentile(0.99),
          percentile(1),
          measured.bytes_per_task ? fmt::format("{:.0f}", *measured.bytes_per_task) : "-"};
}

int run_bench(const Arguments& arguments, const Io& io) {
  bench::Plan plan = arguments.plan;
  plan.url = url_of(arguments.store);
  refuse_server(plan.url, "bench");
  const auto store = open(plan.url);
  refuse_full_queue(*store, plan);
  std::vector<std::string> wanted = arguments.workloads;
  if (wanted.empty()) {
    wanted.assign(bench::workloads().begin(), bench::workloads().end());
    // Two processes can't share memory.
    if (plan.url.rfind("memory:", 0) == 0) std::erase(wanted, "pickup-process");
  }
  Table table{
      {"WORKLOAD", "TASKS", "SECONDS", "TASKS/S", "P50 MS", "P95 MS", "P99 MS", "MAX MS", "BYTES/TASK"}};
  for (std::size_t i = 1; i < 9; ++i) table.right(i);
  const auto measure = [&](const std::string& workload) {
    if (io.terminal) io.err << workload << " …\r" << std::flush;
    const bench::Measured measured = bench::run(workload, plan, *store);
    if (arguments.json) io.out << measured_json(measured, plan.url) << std::flush;
    table.add(measured_cells(measured));
  };
  for (std::size_t round = 0; round < arguments.rounds; ++round) std::ranges::for_each(wanted, measure);
  if (!arguments.json) table.print(io.out);
  return ok;
}

/// Half of the workload pickup-process; not for people.
void add_producer(Commands& commands) {
  CLI::App& command = commands.add("bench-producer", "Enqueues one task every 10 ms", "");
  command.group("");
  const auto arguments = std::make_shared<Arguments>();
  bench::Plan& plan = arguments->plan;
  add_store(command, arguments->store);
  add_string(command, "--queue", "NAME", plan.queue, "");
  add_number(command, "--tasks", plan.tasks, 1, 1'000'000, "");
  add_number(command, "--payload-bytes", plan.payload_bytes, 0, 1 << 20, "");
  commands.runs(command, [arguments](const Io&) {
    const auto store = open_store(arguments->store, Access::existing);
    Client client{*store};
    bench::produce_slowly(client, arguments->plan);
    return ok;
  });
}

}  // namespace

void add_bench(Commands& commands) {
  CLI::App& command = commands.add("bench", "Measures a store", help_text);
  const auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  add_store(command, a.store);
  add_texts(command, "--workload", "NAME,…", "Which of those below (all)",
            [&a](const std::string& text) { take_workloads(text, a.workloads); });
  add_number(command, "--tasks", a.plan.tasks, 1, 100'000'000, "How many (100000)");
  add_number(command, "--threads", a.plan.producers, 1, 10'000, "Producers of enqueue-threads (64)");
  add_number(command, "--concurrency", a.plan.concurrency, 1, 100'000, "Slots of the worker (100)");
  add_number(command, "--handlers", a.plan.handlers, 1, 10'000,
             "Threads of the worker that run handlers (4)");
  add_number(command, "--payload-bytes", a.plan.payload_bytes, 0, 16 << 20, "Of each task (100)");
  add_number(command, "--backlog", a.plan.backlog, 0, 100'000'000,
             "Further pending tasks of lower priority in the queue meanwhile (0)");
  add_number(command, "--rounds", a.rounds, 1, 1'000'000, "How often, on the same open store (1)");
  add_string(command, "--queue", "NAME", a.plan.queue, "The queue to work in (tidemill-bench)");
  add_json(command, a.json);
  commands.runs(command, [arguments](const Io& io) { return run_bench(*arguments, io); });
  add_producer(commands);
}

}  // namespace tidemill::cli
