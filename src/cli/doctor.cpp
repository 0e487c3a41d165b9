#include <algorithm>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/app.hpp"
#include "cli/file_checks.hpp"
#include "cli/options.hpp"
#include "cli/show.hpp"
#include "cli/table.hpp"
#include "core/url.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill doctor --store sqlite:jobs.db
  tidemill doctor --json | jq 'select(.level != "ok")'

It looks at the store and changes nothing. Warnings are worth a look; a problem, exit code 1, means that tasks
don't run, or may be lost.)";

struct Arguments {
  StoreOption store = {};
  bool json = false;
};

void append(std::vector<Finding>& findings, std::vector<Finding> more) {
  std::ranges::move(more, std::back_inserter(findings));
}

std::vector<Finding> findings_of(const StoreOption& option) {
  std::vector<Finding> findings;
  if (url_of(option).starts_with("sqlite:")) {
    const Url url = Url::parse(url_of(option));
    const auto synchronous = url.query.find("synchronous");
    append(findings, examine_file(url.path, synchronous == url.query.end() || synchronous->second == "full"));
  }
  try {
    const auto store = open_store(option, Access::existing);
    findings.push_back(
        {Verdict::fine, "store", "the store opens, and its schema is the one of this program", ""});
    append(findings, server::store_findings(*store));
    Inspector inspector{*store};
    append(findings, server::examine(server::look(inspector)));
  } catch (const Error& error) {
    findings.push_back({Verdict::problem, "store", error.what(),
                        "the checks of what is in it were left out: mend this first"});
  }
  return findings;
}

int doctor(const Arguments& arguments, const Io& io) {
  const std::vector<Finding> findings = findings_of(arguments.store);
  for (const Finding& each : findings) {
    if (arguments.json) {
      io.out << json_line([&](json::Writer& writer) {
        writer.member("level", to_string(each.verdict));
        writer.member("check", each.check);
        writer.member("what", each.what);
        wire::member_text(writer, "advice", each.advice);
      });
      continue;
    }
    io.out << fmt::format("{:<8} {}\n", to_string(each.verdict), one_line(each.what));
    if (!each.advice.empty()) io.out << fmt::format("{:<8} {}\n", "", one_line(each.advice));
  }
  const bool bad = std::ranges::count(findings, Verdict::problem, &Finding::verdict) > 0;
  return bad ? failed : ok;
}

}  // namespace

void add_doctor(Commands& commands) {
  CLI::App& command =
      commands.add("doctor", "Looks for what is wrong with a store, and says what to do", help_text);
  const auto arguments = std::make_shared<Arguments>();
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return doctor(*arguments, io); });
}

}  // namespace tidemill::cli
