# Makes find_package(Landfall) work from another project: landfall::schemas, landfall::eventlog and so on.
include(CMakePackageConfigHelpers)
set(landfall_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Landfall)

install(EXPORT landfallTargets NAMESPACE landfall:: FILE LandfallExported.cmake DESTINATION ${landfall_package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/LandfallConfig.cmake.in ${PROJECT_BINARY_DIR}/LandfallConfig.cmake
  INSTALL_DESTINATION ${landfall_package_dir} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/LandfallConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/LandfallConfig.cmake ${PROJECT_BINARY_DIR}/LandfallConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/LandfallDependencies.cmake DESTINATION ${landfall_package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
