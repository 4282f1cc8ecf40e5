package io.blockwharf.core.control;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.framework.BundleContext;
import org.osgi.framework.Version;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;

/**
 * QMP {@code query-version}. The triple is that of the QEMU whose behaviour we follow, because
 * clients decide by it what they may ask for; the package is ours.
 */
@Component
@QmpName("query-version")
public final class QueryVersion implements QmpCommand<Nothing, QueryVersion.VersionInfo> {
    private static final VersionTriple QEMU = new VersionTriple(10, 2, 2);

    /** QAPI {@code VersionTriple}. */
    public record VersionTriple(int major, int minor, int micro) {}

    /** QAPI {@code VersionInfo}. */
    public record VersionInfo(VersionTriple qemu, String package_) {}

    private final VersionInfo version;

    /** Takes the package's version from the bundle. */
    @Activate
    public QueryVersion(BundleContext context) {
        this(context.getBundle().getVersion());
    }

    QueryVersion(Version bundle) {
        version =
                new VersionInfo(
                        QEMU,
                        "blockwharf-%d.%d.%d"
                                .formatted(
                                        bundle.getMajor(), bundle.getMinor(), bundle.getMicro()));
    }

    @Override
    public VersionInfo execute(Nothing none) {
        return version;
    }
}
