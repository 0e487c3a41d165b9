#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/store.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/show.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill migrate --store sqlite:jobs.db      # creates the store, or brings its schema up to date

Programs do so themselves when they open a store, unless they are told not to.)";

struct Arguments {
  StoreOption store = {};
  bool json = false;
};

int migrate_store(const Arguments& arguments, const Io& io) {
  const std::string url = url_of(arguments.store);
  refuse_server(url, "migrate");
  const Migration migration = migrate(url);
  if (arguments.json) {
    io.out << json_line([&](json::Writer& writer) {
      writer.member("from", migration.from);
      writer.member("to", migration.to);
    });
  } else if (migration.from == migration.to) {
    io.out << fmt::format("up to date: version {}\n", migration.to);
  } else if (migration.from == 0) {
    io.out << fmt::format("created with version {}\n", migration.to);
  } else {
    io.out << fmt::format("from version {} to {}\n", migration.from, migration.to);
  }
  return ok;
}

}  // namespace

void add_migrate(Commands& commands) {
  CLI::App& command = commands.add("migrate", "Creates a store, or brings its schema up to date", help_text);
  const auto arguments = std::make_shared<Arguments>();
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return migrate_store(*arguments, io); });
}

}  // namespace tidemill::cli
