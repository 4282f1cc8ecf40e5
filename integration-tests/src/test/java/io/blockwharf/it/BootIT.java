package io.blockwharf.it;

import static org.junit.Assert.assertEquals;

import org.junit.Test;
import org.junit.runner.RunWith;
import org.ops4j.pax.exam.Configuration;
import org.ops4j.pax.exam.Option;
import org.ops4j.pax.exam.junit.PaxExam;
import org.ops4j.pax.exam.spi.reactors.ExamReactorStrategy;
import org.ops4j.pax.exam.spi.reactors.PerClass;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.Constants;

import java.util.Arrays;
import java.util.List;

import javax.inject.Inject;

/** Every bundle of the run set resolves and starts. */
@RunWith(PaxExam.class)
@ExamReactorStrategy(PerClass.class)
public class BootIT {
    @Inject BundleContext context;

    @Configuration
    public Option[] configuration() {
        return new Option[] {Distribution.runSet("bundles", "drivers")};
    }

    @Test
    public void everyBundleIsActive() {
        List<String> inactive =
                Arrays.stream(context.getBundles())
                        .filter(b -> b.getHeaders().get(Constants.FRAGMENT_HOST) == null)
                        .filter(b -> b.getState() != Bundle.ACTIVE)
                        .map(Bundle::toString)
                        .toList();
        assertEquals(List.of(), inactive);
    }

    @Test
    public void theDriversAreThere() {
        assertEquals(
                1,
                Arrays.stream(context.getBundles())
                        .filter(b -> "io.blockwharf.nbd".equals(b.getSymbolicName()))
                        .count());
    }
}
