package io.blockwharf.it.stub;

import org.osgi.framework.BundleActivator;
import org.osgi.framework.BundleContext;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A driver that writes its coming and going into the file that its manifest names. */
public final class Trace implements BundleActivator {
    @Override
    public void start(BundleContext context) throws IOException {
        write(context, "start");
    }

    @Override
    public void stop(BundleContext context) throws IOException {
        write(context, "stop");
    }

    private static void write(BundleContext context, String what) throws IOException {
        var headers = context.getBundle().getHeaders();
        Files.writeString(
                Path.of(headers.get("Trace-File")),
                what + " " + headers.get("Bundle-Version") + "\n",
                StandardOpenOption.CREATE,
                StandardOpenOption.APPEND);
    }
}
