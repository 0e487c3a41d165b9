#include <tidemill/tidemill.hpp>

struct SendMail {
  static constexpr std::string_view kind = "mail:send";
  std::string to = {};
};
TIDEMILL_FIELDS(SendMail, to)

int main() {
  const auto store = tidemill::open("sqlite:jobs.db");
  tidemill::Client{*store}.enqueue(SendMail{.to = "ada@example.com"});  // On disk when this returns.
  tidemill::Router router;
  router.handle<SendMail>([](const SendMail& mail) { return "sent to " + mail.to; });
  tidemill::Worker{*store, router}.run();  // Until SIGINT or SIGTERM.
}
