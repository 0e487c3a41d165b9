// PersistentQueue's quick start in C++: two job types of a service, on the tables async_job_tab and
// shedlock_tab. Go nodes of the same service name may run beside it; whoever holds the lease runs the jobs.
#include <tidemill/persistent_queue.hpp>
#include <tidemill/tidemill.hpp>

#include <cstdlib>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

// [params]
struct Mail {
  std::string to = {};
  std::string text = {};
};
TIDEMILL_FIELDS(Mail, to, text)
// [params]

namespace pq = tidemill::persistent_queue;

namespace {

std::string url() {
  const char* const given = std::getenv("TIDEMILL_MYSQL");
  return given != nullptr ? given : "mysql://root@127.0.0.1:3306/test";
}

/// In one piece: handlers run beside each other.
void say(const std::string& line) { std::cout << line + "\n" << std::flush; }

int work() {
  // [start]
  pq::QueueConfig mails;
  mails.service_name = "mails";  // As in the Go nodes that it shares the jobs with.
  mails.job_type = 1;
  mails.need_retry = true;
  mails.max_retries = 3;
  mails.wait_time = 10s;
  mails.db = tidemill::SqlHandle::mysql(url());  // Or your own connection: a MYSQL*, or any other.
  mails.handler = [](pq::Job& job) {
    const auto mail = tidemill::Codec<Mail>::decode(job.params);
    say("mail to " + mail.to + ": " + mail.text);
    job.status = pq::Status::success;
  };

  const auto queues = pq::init({mails});
  queues->run();  // Until SIGTERM: finishes what runs, and hands the lease over.
  // [start]
  return 0;
}

int add(const std::string& to) {
  // [add]
  const auto db = tidemill::SqlHandle::mysql(url());
  db.execute(std::string{pq::async_job_table()});  // If nobody has made it yet.
  pq::add_job(db, 1, Mail{to, "welcome"});
  // [add]
  // [transaction]
  // In the application's own transaction: the job is there if it commits, and else not.
  db.execute("START TRANSACTION");
  pq::add_job(db, 1, Mail{to, "your order"});
  db.execute("COMMIT");
  // [transaction]
  return 0;
}

int once() {
  // [lock]
  pq::ShedLock lock{{.db = tidemill::SqlHandle::mysql(url()), .service_name = "nightly report"}};
  if (!lock.try_lock()) {
    say("another node makes the report");
    return 0;
  }
  say(lock.held() ? "makes the report" : "lost the lock");
  lock.unlock();
  // [lock]
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  try {
    if (command == "work") return work();
    if (command == "add" && argc > 2) return add(argv[2]);
    if (command == "once") return once();
  } catch (const tidemill::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  std::cerr << "example_persistent_queue work | add NAME | once\n";
  return 2;
}
