# find_package(tidemill) and target tidemill::tidemill for programs that use the library; tidemill::yaml for those with
# files of periodic tasks.

tidemill_existing(libraries tidemill_core tidemill_driver_mysql tidemill_driver_postgres tidemill_driver_redis
  tidemill_driver_sql tidemill_driver_sqlite
  tidemill_store_memory tidemill_store_mysql tidemill_store_postgres tidemill_store_redis tidemill_store_sql
  tidemill_store_sqlite
  tidemill_stores tidemill_engine tidemill_testing tidemill_gateway_persistent_queue)
list(APPEND libraries tidemill)
install(TARGETS ${libraries} EXPORT tidemill_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT tidemill_targets NAMESPACE tidemill:: FILE tidemillTargets.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tidemill)
# Apart, as it needs yaml-cpp and nothing else does.
if(TARGET tidemill_yaml)
  install(TARGETS tidemill_wire tidemill_yaml EXPORT tidemill_yaml_targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT tidemill_yaml_targets NAMESPACE tidemill:: FILE tidemillYamlTargets.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tidemill)
endif()
install(DIRECTORY include/tidemill DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET tidemill_command)
  install(TARGETS tidemill_command DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

configure_package_config_file(cmake/tidemillConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/tidemillConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tidemill)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/tidemillConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tidemillConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/tidemillConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tidemill)
