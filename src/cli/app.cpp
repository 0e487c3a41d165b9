#include "cli/app.hpp"

#include <algorithm>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/error.hpp>

#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  export TIDEMILL_STORE=sqlite:jobs.db        # or --store with each command
  tidemill enqueue greet ada --retention 1h
  tidemill work --on 'greet=sed "s/^/hello /"'
  tidemill tasks --state completed
  tidemill tasks --help

Exit codes: 0 it went well, 1 it failed or something was refused, 2 the command was called in a wrong way.)";

/// The commands that were named, outermost first, without the program itself.
std::vector<const CLI::App*> chain_of(const CLI::App& app) {
  std::vector<const CLI::App*> chain;
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    chain.push_back(at);
  }
  return chain;
}

std::string name_of(const std::vector<const CLI::App*>& chain) {
  std::string name = "tidemill";
  for (const CLI::App* command : chain) name += " " + command->get_name();
  return name;
}

/// What there is to choose from where an unknown word stands.
std::vector<std::string> known_words(const CLI::App& command, bool options) {
  std::vector<std::string> words;
  if (options) {
    for (const CLI::Option* option : command.get_options()) {
      for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    }
  } else {
    for (const CLI::App* sub :
         command.get_subcommands([](const CLI::App* s) { return !s->get_group().empty(); })) {
      words.push_back(sub->get_name());
    }
  }
  return words;
}

std::string describe_unknown(const CLI::App& app, const std::string& word) {
  const auto chain = chain_of(app);
  const CLI::App& command = chain.empty() ? app : *chain.back();
  const bool option = word.size() > 1 && word.front() == '-';
  const std::string name = word.substr(0, word.find('='));
  const std::vector<std::string> words = known_words(command, option);
  const std::string near = wire::suggestion(name, words);
  if (option) return fmt::format("there is no option {}{}", name, near);
  if (!words.empty()) return fmt::format("there is no command \"{}\"{}", word, near);
  return fmt::format("there is one argument too many: \"{}\"", word);
}

/// An option that stands before a subcommand would be read and have no effect.
void refuse_stray_options(const std::vector<const CLI::App*>& chain) {
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
    for (const CLI::Option* option : chain[i]->get_options()) {
      if (option->count() == 0) continue;
      throw Usage{fmt::format("{} has no effect before \"{}\"; write it after that", option->get_name(),
                              chain[i + 1]->get_name())};
    }
  }
}

void build(CLI::App& app, Commands& commands) {
  app.require_subcommand(1);
  app.footer(help_text);
  app.set_help_flag("-h,--help", "Shows this and ends");
  add_enqueue(commands);
  add_tasks(commands);
  add_queues(commands);
  add_schedules(commands);
  add_workers(commands);
  add_work(commands);
  add_serve(commands);
  add_check_config(commands);
  add_doctor(commands);
  add_top(commands);
  add_migrate(commands);
  add_bench(commands);
  add_bench_receiver(commands);
  add_version(commands);
}

std::string help_of(const CLI::App& app) {
  std::string text = app.help();
  // CLI11 shows the empty default of an optional value as braces.
  const std::string_view braces = "--unique{}     ";
  const auto at = text.find(braces);
  if (at != std::string::npos) text.replace(at, braces.size(), "--unique[=KEY] ");
  return text;
}

int complain(const Io& io, const CLI::App& app, const std::string& what) {
  io.err << fmt::format("tidemill: {}\nSee: {} --help\n", what, name_of(chain_of(app)));
  return wrong_usage;
}

/// None: the arguments are right, and a program is to run.
std::optional<int> parse(CLI::App& app, std::vector<std::string> arguments, const Io& io) {
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
    refuse_stray_options(chain_of(app));
  } catch (const CLI::CallForHelp&) {
    io.out << help_of(app);
    return ok;
  } catch (const CLI::ParseError& error) {
    // A word that nobody knows is the likely cause of whatever else seems to be missing.
    const std::vector<std::string> unknown = app.remaining(true);
    return complain(io, app,
                    unknown.empty() ? std::string{error.what()} : describe_unknown(app, unknown.front()));
  } catch (const Error& error) {
    return complain(io, app, error.what());
  } catch (const Usage& usage) {
    return complain(io, app, usage.message);
  }
  return {};
}

}  // namespace

CLI::App& Commands::add(CLI::App& parent, const std::string& name, const std::string& what,
                        const std::string& help) {
  CLI::App* command = parent.add_subcommand(name, what);
  command->footer(help);
  command->set_help_flag("-h,--help", "Shows this and ends");
  return *command;
}

const Program* Commands::find(const CLI::App& command) const {
  const auto found = programs_.find(&command);
  return found == programs_.end() ? nullptr : &found->second;
}

int run(std::vector<std::string> arguments, const Io& io) {
  CLI::App app{"Tidemill: a background task queue", "tidemill"};
  Commands commands{app};
  build(app, commands);
  if (arguments.empty()) {
    io.err << help_of(app);
    return wrong_usage;
  }
  if (const std::optional<int> code = parse(app, std::move(arguments), io)) return *code;
  const Program* program = commands.find(*chain_of(app).back());
  if (program == nullptr) return complain(io, app, "a command is missing");
  try {
    const int code = (*program)(io);
    io.out.flush();
    if (io.out) return code;
    io.err << "tidemill: the output can't be written; is the disk full?\n";
    return failed;
  } catch (const Usage& usage) {
    return complain(io, app, usage.message);
  } catch (const std::exception& error) {
    io.err << "tidemill: " << error.what() << '\n';
    return failed;
  }
}

}  // namespace tidemill::cli
