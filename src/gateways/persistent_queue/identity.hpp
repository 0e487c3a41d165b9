#pragma once

#include <string>
#include <string_view>

/// Who competes for a lease, and for which.
namespace tidemill::persistent_queue {

/// `lock_name`: MD5 of the service's name.
std::string lock_name(std::string_view service_name);

/// `locked_by`, as Go's nodes have it: SERVICE-IPv4-POD_NAME-NANOSECONDS, and no other like it in this
/// process. The address is the first that is not the machine's own; 0.0.0.0 where there is none.
std::string make_owner(std::string_view service_name);

}  // namespace tidemill::persistent_queue
